"""Places where a test kills the process, to see that nothing is lost there.

`FAULTPOINT=submit.noted:2` in the environment: the second time that the code comes by that place, the process
kills itself as a crash would, and nothing is cleaned up. Without it a place costs one look at a constant.
"""

import os
import signal
from typing import Final

__all__ = ["POINTS", "point"]

POINTS = (
    "admit.checked",
    "admit.written",
    "admit.committed",
    "job.claimed",
    "submit.planned",
    "submit.noted",
    "submit.answered",
    "submit.kept",
    "poll.succeeded",
    "picture.fetched",
    "picture.stored",
    "pictures.stored",
    "share.written",
    "share.kept",
    "complete.begun",
    "complete.written",
    "complete.committed",
    "fail.written",
    "fail.committed",
    "cancel.written",
    "cancel.committed",
    "delivery.claimed",
    "delivery.tried",
    "delivery.noted",
    "window.taken",
    "run.planned",
    "run.admitted",
    "run.composed",
)
"""Each place, in the order of a job's life."""

_NAME, _, _COUNT = os.environ.get("FAULTPOINT", "").partition(":")
_ARMED: Final = bool(_NAME)
if _ARMED and _NAME not in POINTS:
    raise ValueError(f"FAULTPOINT={_NAME!r} is no place of the code")
_left = int(_COUNT or 1)


def point(name: str) -> None:
    """Come by a place."""
    if not _ARMED or name != _NAME:
        return
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
