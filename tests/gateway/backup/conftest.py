"""A real core on a real database, and empty places to restore it to."""

from pathlib import Path

import pytest
from support.backups import Places
from support.job_world import world

__all__ = ["world"]


@pytest.fixture
def places(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Places:
    """Where to restore to."""
    server = request.getfixturevalue("postgres") if database_kind == "postgresql" else None
    return Places(database_kind, tmp_path, server)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of backups."""
    return tmp_path / "backups"
