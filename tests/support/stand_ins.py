"""What stands in for images of somebody else's where they cannot be had: the same servers, or ones that speak the
same protocol, started the way the image starts them.

`nginx` and `rclone` are the real ones, with the very commands of compose.yaml.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from support import postgres_container, smtp_container

__all__ = ["StandIn", "stand_ins"]


@dataclass(frozen=True)
class StandIn:
    """Of one service."""

    command: tuple[str, ...] = ()
    """In place of its image's; none: compose.yaml's own."""
    health: tuple[str, ...] = ()
    volumes: bool = True
    """Whether it has the volumes of compose.yaml; else it keeps things in a folder of its own."""
    resolver: bool = False
    """Whether it asks Docker's name server, and not the file of hosts alone."""


def stand_ins(folder: Path) -> dict[str, StandIn]:
    """By service.

    Args:
        folder: of this run; mails are kept in `mails` there.
    """
    pg = str(postgres_container.binary("pg_isready"))
    return {
        "postgres": StandIn(
            command=(sys.executable, postgres_container.__file__, str(folder / "database")),
            health=(pg, "--host", "127.0.0.1", "--username", "gateway", "--dbname", "gateway"),
            volumes=False,
        ),
        "smtp": StandIn(
            command=(sys.executable, smtp_container.__file__, str(folder / "mails")),
            health=("nc", "-z", "127.0.0.1", "1025"),
        ),
        # Its image's own command.
        "proxy": StandIn(command=("nginx", "-g", "daemon off;"), resolver=True),
    }
