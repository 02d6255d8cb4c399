"""A month's statement: found, and written as a page that prints well."""

import base64
import calendar
import functools
import hashlib
import re
from datetime import date
from importlib import resources
from typing import Annotated, Any

import jinja2
from litestar import Request, Response
from litestar.params import QueryParameter
from sqlalchemy import Connection

from billing import ledger
from billing.money import MICROS_PER_USD
from billing.reports import month_span
from billing.statements import statement
from gateway.accounts.rows import list_keys
from gateway.billing_schemas import StatementView
from gateway.billing_views import statement_view
from gateway.core import Core
from gateway.problems import Problem
from gateway.routes.billing_query import invalid_query, wanted
from registry.errors import Fault

__all__ = ["MEDIA_TYPE", "StatementForm", "read_form", "statement_of", "statement_page"]

MEDIA_TYPE = "text/html"
FORMS = ("json", "html")
MONTH = re.compile("(19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])")

StatementForm = Annotated[
    str | None,
    QueryParameter(
        name="format",
        description="`json` or `html`; without it as `Accept` says",
        schema_extra={"enum": [*FORMS, None]},
    ),
]


def read_form(request: Request[Any, Any, Any], given: str | None) -> str:
    """`json` or `html`.

    Raises:
        Problem: `invalid_query`.
    """
    faults: list[Fault] = []
    found = wanted(request, given, FORMS, MEDIA_TYPE, faults)
    if faults:
        raise invalid_query(faults)
    return found


async def statement_of(core: Core, account_id: str, month: str) -> StatementView:
    """A month of an account, all of it as of one moment.

    Args:
        core: has the database.
        account_id: one that there is.
        month: `2026-11`.

    Raises:
        Problem: `not_found`: there is no such month, or it has not begun.
    """
    at = core.ambient.now_ms()
    if not MONTH.fullmatch(month):
        raise Problem("not_found", f"{month!r} is no month; write it like 2026-01")
    if month_span(month)[0] > at:
        raise Problem("not_found", f"{month} has not begun")
    whose = (await core.accounts.find(account_id)).account

    def look(conn: Connection) -> StatementView:
        names = {key.id: key.name for key in list_keys(conn, account_id)}
        found = statement(conn, account_id, month)
        return statement_view(found, ledger.balance(conn, account_id), (whose.id, whose.name), names, at)

    return await core.db.read(look)


def statement_page(view: StatementView, public_url: str) -> Response[str]:
    """A statement as one page that needs nothing else: no script, no picture, no font of another host.

    Args:
        view: the statement.
        public_url: of the gateway that sends it.
    """
    page, style = _template()
    year, month = view.month.split("-")
    digits = _digits(view)
    text = page.render(
        view=view,
        style=style,
        month=f"{calendar.month_name[int(month)]} {year}",
        host=public_url.partition("://")[2],
        money=lambda micros: _money(micros, digits),
        change=lambda micros: _money(micros, digits) if micros else "–",  # noqa: RUF001  # a dash
        day=_day,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Response(
        text,
        media_type=MEDIA_TYPE,
        headers={
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
        },
    )


@functools.cache
def _template() -> tuple[jinja2.Template, str]:
    folder = resources.files("gateway").joinpath("pages")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(folder.joinpath("statement.html.jinja").read_text())
    return page, folder.joinpath("statement.css").read_text()


def _digits(view: StatementView) -> int:
    """Decimals that every amount of a statement can be written with, exactly; cents at least."""
    sides = (view.opening, view.closing, *view.movements, *view.entries)
    amounts = {
        amount for one in sides for amount in (one.amount_micros, one.available_micros, one.held_micros)
    }
    for row in (*view.models, *view.keys):
        amounts |= {row.cost_micros, row.refund_micros, row.net_micros}
    return next(n for n in range(2, 7) if not any(amount % 10 ** (6 - n) for amount in amounts))


def _money(micros: int, digits: int) -> str:
    """Dollars for people: `1,234.50`, with a minus sign, not a hyphen."""
    whole, rest = divmod(abs(micros), MICROS_PER_USD)
    return f"{'−' if micros < 0 else ''}{whole:,}.{f'{rest:06d}'[:digits]}"  # noqa: RUF001  # a minus sign


def _day(text: str) -> str:
    """`2026-11-05T...` as `5 November 2026`."""
    on = date.fromisoformat(text[:10])
    return f"{on.day} {calendar.month_name[on.month]} {on.year}"
