"""Tables as CSV (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

from litestar import Response

__all__ = ["MEDIA_TYPE", "Cell", "csv_response", "write_csv"]

MEDIA_TYPE = "text/csv"

Cell = str | int | Decimal | None

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet would work out (CWE-1236)."""


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table with a header line; lines end with CR LF. Nothing: an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cell(cell: Cell) -> str | int | None:
    """A number as it is; a text that would be a formula behind an apostrophe, which makes it a text."""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    return f"{cell:f}" if isinstance(cell, Decimal) else cell


def csv_response(name: str, text: str) -> Response[bytes]:
    """A table to be saved.

    Args:
        name: of the file, without its ending; letters, digits and dashes.
        text: of the file.
    """
    return Response(
        text.encode(),
        media_type=f"{MEDIA_TYPE}; header=present",  # Litestar adds the charset
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "Cache-Control": "no-store",
        },
    )
