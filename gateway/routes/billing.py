"""`/api/billing`: what one has, what moved, what was used, and the month's statement."""

import asyncio
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, PathParameter, QueryParameter
from msgspec import structs
from sqlalchemy import Connection

from billing import ledger
from billing.movements import active_months, list_movements
from billing.reports import TooManyGroups, Usage, UsageFilter, date_of, month_span, usage_report
from billing.usage import DAY_MS
from gateway.access import ADMIN
from gateway.accounts.principals import Principal
from gateway.accounts.rows import list_keys
from gateway.answers import also, may
from gateway.billing_schemas import (
    AdminUsageRowView,
    AdminUsageView,
    BillingBalanceView,
    LedgerView,
    MovementView,
    StatementList,
    StatementView,
    UsageRowView,
    UsageView,
)
from gateway.billing_views import (
    admin_usage_view,
    balance_view,
    columns_of,
    ledger_view,
    month_links,
    usage_view,
)
from gateway.core import Core
from gateway.csv_table import MEDIA_TYPE as CSV
from gateway.csv_table import csv_response, write_csv
from gateway.problems import Problem
from gateway.routes.billing_query import (
    LedgerQuery,
    UsageQuery,
    admin_usage_query,
    ledger_query,
    usage_query,
)
from gateway.routes.jobs import Cursor, read_cursor, write_cursor
from gateway.schemas import json_response
from gateway.statements import MEDIA_TYPE as HTML
from gateway.statements import StatementForm, read_form, statement_of, statement_page

__all__ = [
    "account_ledger",
    "account_statement",
    "all_usage",
    "your_balance",
    "your_ledger",
    "your_statement",
    "your_statements",
    "your_usage",
]

MOST_ROWS = 50_000
"""Of a report; a page of the ledger as JSON has 100 at most."""
PAGE = 20

Limit = Annotated[
    int | None,
    QueryParameter(ge=1, le=100, description=f"Entries a page, {PAGE} if not given; a CSV has them all"),
]
Month = Annotated[
    str, PathParameter(description="A month (UTC) like 2026-01", schema_extra={"examples": ["2026-01"]})
]
USAGE = {"asked": Provide(usage_query, sync_to_thread=False)}
ADMIN_USAGE = {"asked": Provide(admin_usage_query, sync_to_thread=False)}
LEDGER = {"asked": Provide(ledger_query, sync_to_thread=False)}
REPORT = may("invalid_query", "report_too_large")


@get("/api/billing/balance", summary="Your balance", tags=["Billing"])
async def your_balance(
    core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[BillingBalanceView]:
    """What you have, what of it is set aside for jobs under way, and what this month has cost so far."""
    month = _month_at(core.ambient.now_ms())
    start, end = month_span(month)

    def look(conn: Connection) -> BillingBalanceView:
        only = UsageFilter(
            account_id=principal.account_id, first_day=start // DAY_MS, last_day=end // DAY_MS - 1
        )
        counts = usage_report(conn, (), only).total
        return balance_view(ledger.balance(conn, principal.account_id), month, counts)

    return json_response(await core.db.read(look))


@get(
    "/api/billing/ledger",
    summary="Your ledger",
    tags=["Billing"],
    dependencies=LEDGER,
    opt=REPORT | also(CSV),
)
async def your_ledger(
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    asked: NamedDependency[LedgerQuery],
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response[LedgerView]:
    """What happened to your money, newest first.

    Each entry says what it changed: `available` is what jobs can be paid with, `held` what is set aside for
    jobs under way, and `amount` the two together. So a hold changes nothing in all, and a charge takes from
    what was held.
    """
    return await _ledger(core, principal.account_id, asked, limit, cursor)


@get(
    "/api/admin/accounts/{account_id:str}/ledger",
    summary="An account's ledger",
    tags=["Operators"],
    dependencies=LEDGER,
    opt=ADMIN | REPORT | also(CSV),
)
async def account_ledger(
    account_id: FromPath[str],
    core: NamedDependency[Core],
    asked: NamedDependency[LedgerQuery],
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response[LedgerView]:
    """What happened to an account's money, newest first, as its owner sees it."""
    await core.accounts.find(account_id)
    return await _ledger(core, account_id, asked, limit, cursor)


async def _ledger(
    core: Core, account_id: str, asked: LedgerQuery, limit: int | None, cursor: str | None
) -> Response[Any]:
    before = read_cursor(cursor) if cursor else None
    table = asked.format == "csv"
    most = limit or (MOST_ROWS if table else PAGE)
    rows = await core.db.read(
        lambda c: list_movements(c, account_id, limit=most + 1, only=asked.only, before=before)
    )
    page = rows[:most]
    more = write_cursor(*page[-1].cursor) if len(rows) > most else None
    view = await asyncio.to_thread(ledger_view, page, more)
    if not table:
        return json_response(view)
    if limit is None and more is not None:
        raise _too_large()
    text = await asyncio.to_thread(_table, view.entries, MovementView, ("at", "id", "kind", "text"))
    return csv_response(f"ledger-{asked.span.words}", text)


@get(
    "/api/billing/usage",
    summary="Your usage",
    tags=["Billing"],
    dependencies=USAGE,
    opt=REPORT | also(CSV),
)
async def your_usage(
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    asked: NamedDependency[UsageQuery],
) -> Response[UsageView]:
    """What you used and what it cost, by any of day, month, model, provider, key and `userId`.

    Jobs count on the day (UTC) on which they ended, refunds on the day on which they were made. `costMicros`
    is what was charged, `netMicros` that less the refunds.
    """
    only = structs.replace(asked.only, account_id=principal.account_id)
    usage, names = await _usage(core, asked, only)
    view = await asyncio.to_thread(usage_view, usage, asked.by, names)
    if asked.format == "json":
        return json_response(view)
    text = await asyncio.to_thread(_usage_table, view.rows, UsageRowView, asked)
    return csv_response(f"usage-{asked.span.words}", text)  # type: ignore[return-value]


@get(
    "/api/admin/billing/usage",
    summary="Everybody's usage",
    tags=["Operators"],
    dependencies=ADMIN_USAGE,
    opt=ADMIN | may("invalid_query", "report_too_large", "not_found") | also(CSV),
)
async def all_usage(
    core: NamedDependency[Core],
    asked: NamedDependency[UsageQuery],
) -> Response[AdminUsageView]:
    """What all accounts used, or one: what was charged, what providers bill for it, and what is left.

    As `/api/billing/usage`, and `by` may name `account` too.
    """
    if asked.only.account_id is not None:
        await core.accounts.find(asked.only.account_id)
    usage, names = await _usage(core, asked, asked.only)
    view = await asyncio.to_thread(admin_usage_view, usage, asked.by, names)
    if asked.format == "json":
        return json_response(view)
    text = await asyncio.to_thread(_usage_table, view.rows, AdminUsageRowView, asked)
    return csv_response(f"usage-{asked.span.words}", text)  # type: ignore[return-value]


async def _usage(core: Core, asked: UsageQuery, only: UsageFilter) -> tuple[Usage, dict[str, str]]:
    """A report, and the names of the API keys in it."""

    def look(conn: Connection) -> tuple[Usage, dict[str, str]]:
        found = usage_report(conn, asked.by, only, most=MOST_ROWS)
        return found, _key_names(conn, only.account_id) if "key" in asked.by else {}

    try:
        return await core.db.read(look)
    except TooManyGroups as error:
        raise _too_large() from error


def _too_large() -> Problem:
    return Problem(
        "report_too_large",
        f"The report would have more than {MOST_ROWS} rows. Ask for fewer days with from and to, or for less "
        "in each of them",
    )


def _key_names(conn: Connection, account_id: str | None) -> dict[str, str]:
    return {key.id: key.name for key in list_keys(conn, account_id)}


def _usage_table(rows: tuple[Any, ...], view: type[Any], asked: UsageQuery) -> str:
    columns = columns_of(view, asked.by)
    return write_csv(tuple(columns.values()), ([getattr(row, name) for name in columns] for row in rows))


def _table(rows: tuple[Any, ...], view: type[Any], first: tuple[str, ...]) -> str:
    titles = columns_of(view)
    names = (*first, *(name for name in titles if name not in first))
    return write_csv(
        [titles[name] for name in names], ([getattr(row, name) for name in names] for row in rows)
    )


@get("/api/billing/statements", summary="Your statements", tags=["Billing"])
async def your_statements(
    core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[StatementList]:
    """The months in which anything moved, newest first."""
    months = await core.db.read(lambda c: active_months(c, principal.account_id))
    return json_response(month_links(months, _month_at(core.ambient.now_ms())))


@get(
    "/api/billing/statements/{month:str}",
    summary="A month's statement",
    tags=["Billing"],
    opt=may("invalid_query") | also(HTML),
)
async def your_statement(
    month: Month,
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    form: StatementForm = None,
) -> Response[StatementView]:
    """A month (`2026-11`, UTC): what you had, what moved, what you were charged for, what you have.

    As JSON, or as a page that prints well: `Accept: text/html` or `format=html`.
    """
    return await _statement(core, request, principal.account_id, month, form)


@get(
    "/api/admin/accounts/{account_id:str}/statements/{month:str}",
    summary="A month's statement of an account",
    tags=["Operators"],
    opt=ADMIN | may("invalid_query") | also(HTML),
)
async def account_statement(
    account_id: FromPath[str],
    month: Month,
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    form: StatementForm = None,
) -> Response[StatementView]:
    """A month of an account, as its owner sees it."""
    await core.accounts.find(account_id)
    return await _statement(core, request, account_id, month, form)


async def _statement(
    core: Core, request: Request[Any, Any, Any], account_id: str, month: str, form: str | None
) -> Response[Any]:
    shape = read_form(request, form)
    view = await statement_of(core, account_id, month)
    if shape == "json":
        return json_response(view)
    return await asyncio.to_thread(statement_page, view, core.settings.public_url)


def _month_at(at: int) -> str:
    return date_of(at // DAY_MS)[:7]
