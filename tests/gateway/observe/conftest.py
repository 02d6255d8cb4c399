"""A real core on a real database; its providers answer by script."""

from support.job_world import no_blocking_calls, world

__all__ = ["no_blocking_calls", "world"]
