"""Days, as options take them."""

from datetime import datetime

import rich_click as click

__all__ = ["DAY"]


class _Day(click.DateTime):
    """A day that a calendar has others around of."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        found: datetime = super().convert(value, param, ctx)
        if not 1971 <= found.year <= 9000:
            self.fail(f"{value!r} is no day that anything was billed on.", param, ctx)
        return found


DAY = _Day(["%Y-%m-%d"])
