"""How `gateway billing reconcile` prints what differs: each difference as it is found, then the totals."""

import csv
import json
import sys
from typing import Any, Literal, Protocol

import msgspec
import rich_click as click
from rich.markup import escape

from billing.money import usd
from billing.reconcile import Difference, Totals
from gateway.ambient import iso
from gateway.cli.console import console, table

__all__ = ["Printer", "printer_of"]

SHOWN = 50
"""Differences, for people; JSON and CSV have all of them."""
COLUMNS = (
    "kind", "at", "endpoint", "requestId", "attemptId", "jobId", "oursMicros", "theirsMicros",
    "differenceMicros", "oursUnits", "theirsUnits", "attempts", "counts", "words", "command",
)  # fmt: skip
Entered = tuple[int, int] | None


class Printer(Protocol):
    """Prints what a comparison finds."""

    def add(self, found: Difference) -> None:
        """Print one, or keep it."""
        ...

    def end(self, totals: Totals, entered: Entered) -> None:
        """Print the rest.

        Args:
            totals: of the comparison.
            entered: corrections and their micro-dollars, where some were asked for.
        """
        ...


def printer_of(form: Literal["table", "json", "csv"]) -> Printer:
    """A printer to stdout."""
    if form == "json":
        return _Json()
    return _Csv() if form == "csv" else _Table()


def _plain(found: Difference) -> dict[str, Any]:
    """As JSON: with the time in ISO 8601."""
    made: dict[str, Any] = msgspec.to_builtins(found)
    made.pop("totalMicros")
    return made | {"at": None if found.at is None else iso(found.at), "attempts": list(found.attempts)}


class _Json:
    """An object that is written while it is made: there may be very many differences."""

    def __init__(self) -> None:
        self._before = '{"differences": [\n'

    def add(self, found: Difference) -> None:
        click.echo(self._before + json.dumps(_plain(found)), nl=False)
        self._before = ",\n"

    def end(self, totals: Totals, entered: Entered) -> None:
        head = self._before if self._before.startswith("{") else "\n"
        made = msgspec.to_builtins(totals)
        if entered is not None:
            made |= {"entered": entered[0], "enteredMicros": entered[1]}
        click.echo(f'{head}], "totals": {json.dumps(made)}}}')


class _Csv:
    """A line each; what it comes to goes to stderr."""

    def __init__(self) -> None:
        self._writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def add(self, found: Difference) -> None:
        row = _plain(found)
        row["attempts"] = " ".join(found.attempts)
        self._writer.writerow({name: _cell(row[name]) for name in COLUMNS})

    def end(self, totals: Totals, entered: Entered) -> None:
        click.echo("\n".join(_facts(totals, entered)), err=True)


def _cell(value: Any) -> Any:
    """A text of a provider's must be no formula to a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


class _Table:
    """For people: the first of them."""

    def __init__(self) -> None:
        self._found: list[Difference] = []
        self._more = 0

    def add(self, found: Difference) -> None:
        if len(self._found) < SHOWN:
            self._found.append(found)
        else:
            self._more += 1

    def end(self, totals: Totals, entered: Entered) -> None:
        out = console()
        for one in self._found:
            out.print(f"[bold]{one.kind}[/] {escape(_heading(one))}", highlight=False, soft_wrap=True)
            out.print(f"    {escape(one.words)}", highlight=False, soft_wrap=True)
            if one.command is not None:
                out.print(f"    {escape(one.command)}", highlight=False, soft_wrap=True)
        if self._more:
            out.print(f"... and {self._more} more; --json and --csv have them", highlight=False)
        if self._found:
            out.print()
            rows = table("kind", "how many")
            for kind, count in totals.kinds.items():
                rows.add_row(kind, str(count))
            out.print(rows)
        out.print("\n".join(_facts(totals, entered)), highlight=False)


def _heading(one: Difference) -> str:
    """When, where, and both sides' amounts."""
    said = "not said" if one.theirs_micros is None else f"{usd(one.theirs_micros)} USD"
    parts = [
        "" if one.at is None else iso(one.at)[:19] + "Z",
        one.endpoint,
        f"billed {said}, here {usd(one.ours_micros)} USD: {usd(one.difference_micros)}",
    ]
    if one.theirs_units is not None or one.ours_units is not None:
        parts.append(f"units billed {one.theirs_units or '-'}, here {one.ours_units or '-'}")
    parts += [
        f"{title} {value}"
        for title, value in (
            ("request", one.request_id),
            ("attempt", one.attempt_id),
            ("job", one.job_id),
            ("attempts", ", ".join(one.attempts)),
        )
        if value
    ]
    return "  ".join(part for part in parts if part)


def _facts(totals: Totals, entered: Entered) -> list[str]:
    lines = [
        f"{_count(totals.lines, 'row')} of theirs, {_count(totals.attempts, 'attempt')} of ours: billed "
        f"{usd(totals.theirs_micros)} USD, here {usd(totals.ours_micros)} USD, "
        f"{usd(totals.difference_micros)} apart"
    ]
    notes = (
        (totals.repeated, "row", "there twice"),
        (totals.without_cost, "request", "of which it is not said what they cost"),
        (totals.pending, "attempt", "under way: they are not compared"),
        (totals.unfinished, "time", "not whole, or not over: it is not compared"),
    )
    lines += [f"{_count(count, what)} {words}" for count, what, words in notes if count]
    if entered is not None:
        lines.append(f"{_count(entered[0], 'correction')} entered: {usd(entered[1])} USD")
    lines.append(f"{totals.differ} differ" if totals.differ else "nothing differs")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
