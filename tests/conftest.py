"""What every test shares."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# `tests/` has no __init__.py (its folders would shadow the packages of the same name), so the
# helpers in tests/support are reached by path.
sys.path.insert(0, str(Path(__file__).parent))

# Shared machines stall: a test must not fail for having been slow once.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
