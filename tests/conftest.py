"""Fixtures that every test shares."""

import sys
from pathlib import Path

# `tests/` has no __init__.py (its folders would shadow the packages of the same name), so the
# helpers in tests/support are reached by path.
sys.path.insert(0, str(Path(__file__).parent))
