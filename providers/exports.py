"""What a provider says that it billed: the rows of its exports, and how files of them are read.

A provider's own module makes the rows of the records that are read here: `providers.fal.usage`,
`providers.diffusers_modal.usage`.
"""

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from msgspec import Struct

__all__ = [
    "Billed",
    "BilledSum",
    "ExportError",
    "Record",
    "milliseconds",
    "number",
    "read_records",
    "text_of",
]

MOST = Decimal(10) ** 12
"""No amount and no count is more than this."""
_EPOCH = datetime.fromtimestamp(0, UTC)


class ExportError(Exception):
    """An export cannot be read. The message says where, and what is expected there."""


class Record(NamedTuple):
    """One object of a JSON file, or one line of a CSV file."""

    where: str
    """For people: `usage.csv, record 3`"""
    fields: Mapping[str, Any]


class Billed(Struct, frozen=True, kw_only=True):
    """One request, as the provider has it."""

    request_id: str
    endpoint: str
    at: int | None
    """Milliseconds UTC."""
    dollars: Decimal | None
    """None: the export does not say what it cost."""
    units: Decimal | None = None
    """What was counted, in the provider's own unit."""


class BilledSum(Struct, frozen=True, kw_only=True):
    """What was billed for an endpoint or an app from a time on."""

    name: str
    """The endpoint, or the app."""
    start: int
    """Milliseconds UTC."""
    dollars: Decimal
    identity: str
    """The same for a row that is read twice, and for no other one."""


def read_records(path: Path) -> Iterator[Record]:
    """The objects of a file: JSON (one page or several, one after the other, or in a list), JSON lines, or
    CSV with a header. CSV and JSON lines are read line by line, JSON whole.

    The fields of a line of CSV are named in small letters with underscores: `Interval Start` is
    `interval_start`.

    Raises:
        ExportError: it is none of these.
        OSError: it cannot be read.
    """
    # A byte order mark is what spreadsheets write.
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            values = _values(file)
            for count, value in enumerate(values, 1):
                where = f"{path.name}, record {count}"
                if not isinstance(value, dict):
                    raise ExportError(f"{where}: {_shown(value)} is no object")
                yield Record(where, value)
        except UnicodeDecodeError as error:
            raise ExportError(f"{path.name} is no text in UTF-8") from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise ExportError(f"{path.name} is no JSON: {error}") from error
        except csv.Error as error:
            raise ExportError(f"{path.name} is no CSV: {error}") from error


def _values(file: TextIO) -> Iterator[Any]:
    first = next((line for line in file if line.strip()), "")
    if not first.lstrip().startswith(("{", "[")):
        return _lines_of_csv(itertools.chain([first], file))
    try:
        head = _decode(first)
    except json.JSONDecodeError:
        return _listed(_documents(first + file.read()))
    return _listed(itertools.chain([head], (_decode(line) for line in file if line.strip())))


def _lines_of_csv(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    reader = csv.reader(lines, strict=True)
    names = [_name(title) for title in next(reader, [])]
    for row in reader:
        if row:
            yield dict(zip(names, row, strict=False))


def _name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def _documents(text: str) -> Iterator[Any]:
    """JSON documents, one after the other."""
    at = 0
    while (found := _VISIBLE.search(text, at)) is not None:
        value, at = _DECODER.raw_decode(text, found.start())
        yield value


def _decode(line: str) -> Any:
    return _DECODER.decode(line)


def _no_number(name: str) -> NoReturn:
    raise ExportError(f"{name} is no number")


# Built once: a line each would make one.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)
_VISIBLE = re.compile(r"\S")


def _listed(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else (value,)


def text_of(record: Record, *names: str) -> str | None:
    """The first of these fields that holds a text; None when none does."""
    for name in names:
        value = record.fields.get(name)
        if isinstance(value, str) and (text := value.strip()):
            return text
    return None


def number(record: Record, *names: str) -> Decimal | None:
    """The first of these fields that holds a number, exactly; None when all are empty.

    Raises:
        ExportError: what is there is no number.
    """
    for name in names:
        value = record.fields.get(name)
        if value is None or value == "":
            continue
        try:
            found = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite() or abs(found) > MOST:
            raise ExportError(f"{record.where}: {name} is no number: {_shown(value)}")
        return found
    return None


def milliseconds(record: Record, *names: str) -> int | None:
    """The first of these fields that holds a time, in milliseconds UTC; None when all are empty.

    Raises:
        ExportError: what is there is no time in ISO 8601.
    """
    text = text_of(record, *names)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ExportError(f"{record.where}: {_shown(text)} is no time in ISO 8601") from error
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def _shown(value: Any) -> str:
    return repr(value)[:60]
