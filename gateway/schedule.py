"""When a request runs, at once or in the next batch window, and what that is worth."""

from msgspec import Struct

from gateway.accounts.principals import Principal
from gateway.ambient import iso
from gateway.jobs.windows import window_after
from gateway.problems import Problem
from gateway.schemas import GenerateRequest
from gateway.settings import Settings

__all__ = ["Turn", "turn_of"]

RAW = (
    "This route answers the picture itself, and jobs of normal accounts wait for their turn. "
    "Use POST /api/images/generate, or become premium"
)


class Turn(Struct, frozen=True, kw_only=True):
    """When a request runs."""

    runs_at: int | None
    """The window that it waits for, in milliseconds UTC; None: it runs at once."""
    percent_off: int
    """Of its price, for that it waits."""

    @property
    def waits(self) -> bool:
        """Whether it waits for a window."""
        return self.runs_at is not None


def turn_of(
    request: GenerateRequest, caller: Principal, settings: Settings, at: int, *, now: bool = False
) -> Turn:
    """When a request runs.

    Args:
        request: what is asked for.
        caller: who asks.
        settings: have the windows.
        at: now, in milliseconds UTC.
        now: it cannot wait: the answer is the picture itself.

    Raises:
        Problem: `premium_required`: it would have to run at once, and the caller's account is a normal one.
    """
    premium = caller.tier == "premium"
    if premium and (now or request.schedule != "window"):
        return Turn(runs_at=None, percent_off=0)
    runs_at = window_after(at, settings.batch_window_s)
    if now:
        raise Problem("premium_required", RAW)
    if not premium and request.schedule == "now":
        raise Problem(
            "premium_required",
            "Jobs of normal accounts wait for their turn. Leave `schedule` out, and it runs at "
            f"{iso(runs_at)}; or become premium",
        )
    return Turn(runs_at=runs_at, percent_off=settings.batch_discount)
