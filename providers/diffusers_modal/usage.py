"""What Modal says that it billed: `modal billing report --json` or `--csv`, or the items of its SDK's
`workspace.billing.report()`. Pure.

    {"object_id": "ap-...", "description": "image-gateway-diffusers", "environment": "main",
     "interval_start": "2026-11-20T00:00:00", "resource": "GPU", "cost": "1.25", "tags": "{}"}

A row is what an app cost in a day, or in an hour; with `--show-resources` there is one for each resource.
Modal bills container time, so what an app costs holds its start and its idling. Of a single call it does not
say what it cost.
"""

from collections.abc import Iterable, Iterator

from providers.diffusers_modal.deployment import APP_NAME
from providers.exports import BilledSum, ExportError, Record, milliseconds, number, text_of

__all__ = ["EXPECTED", "read_report"]

EXPECTED = (
    "expected is Modal's billing report: `modal billing report --for yesterday --json` (or --csv), with "
    "object_id, description, environment, interval_start and cost"
)


def read_report(records: Iterable[Record], environment: str | None = None) -> Iterator[BilledSum]:
    """The rows of a report that are of our app.

    Args:
        records: its rows.
        environment: of Modal, that has the app; None: any.

    Raises:
        ExportError: it is no such report, or has rows and none of our app.
    """
    others: set[str] = set()
    ours = False
    for record in records:
        app = text_of(record, "description")
        start = milliseconds(record, "interval_start")
        cost = number(record, "cost")
        if text_of(record, "object_id") is None or start is None or cost is None:
            raise ExportError(f"{record.where}: this is no row of a report; {EXPECTED}")
        where = text_of(record, "environment", "environment_name")
        if app != APP_NAME or (environment is not None and where != environment):
            others.add(f"{app} in {where}")
            continue
        ours = True
        named = ("object_id", "environment", "environment_name", "resource", "tags", "cost")
        identity = "|".join(str(record.fields.get(name, "")) for name in named)
        yield BilledSum(name=APP_NAME, start=start, dollars=cost, identity=identity)
    if others and not ours:
        place = "" if environment is None else f" in the environment {environment} (MODAL_ENVIRONMENT)"
        raise ExportError(
            f"the report has no row of the app {APP_NAME}{place}; it has {', '.join(sorted(others)[:5])}"
        )
