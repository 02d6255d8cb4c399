"""From the reports to what callers see of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct, structs

from billing.ledger import Balance
from billing.money import json_number
from billing.movements import Movement, Sides, Summed
from billing.reports import Counts, Dimension, Group, Usage
from billing.statements import Statement
from billing.usage import DAY_MS
from gateway.ambient import iso
from gateway.billing_schemas import (
    AdminUsageCountsView,
    AdminUsageRowView,
    AdminUsageView,
    BillingBalanceView,
    LedgerView,
    MonthLink,
    MonthView,
    MovementView,
    SidesView,
    StatementList,
    StatementView,
    SummedView,
    UsageCountsView,
    UsageRowView,
    UsageView,
)
from gateway.views import CURRENCY

__all__ = [
    "admin_usage_view",
    "balance_view",
    "columns_of",
    "ledger_view",
    "month_links",
    "statement_view",
    "usage_view",
]

TEXTS = {
    "topup": "Payment received",
    "promotion": "Credit given",
    "refund": "Refund",
    "payout": "Paid out",
    "adjustment": "Correction",
    "hold": "Set aside for a job",
    "capture": "Charge for a job",
    "release": "Set aside, and not needed",
}
"""What moved, for people."""


FIELDS: dict[Dimension, str] = {"user": "user_id"}
PLACES = frozenset(one.name for one in structs.fields(UsageRowView) if one.default is UNSET)


def balance_view(balance: Balance, month: str, counts: Counts) -> BillingBalanceView:
    """An account's money, and what its jobs of a month have cost."""
    return BillingBalanceView(
        available=json_number(balance.available_micros),
        available_micros=balance.available_micros,
        held=json_number(balance.held_micros),
        held_micros=balance.held_micros,
        postpaid=balance.postpaid,
        currency=CURRENCY,
        month=MonthView(
            month=month,
            jobs=counts.jobs,
            cost=json_number(counts.charge_micros),
            cost_micros=counts.charge_micros,
            refund_micros=counts.refund_micros,
        ),
    )


def usage_view(usage: Usage, by: Sequence[Dimension], names: Mapping[str, str]) -> UsageView:
    """A report as its account sees it; `names` are of its API keys, by their ids."""
    return UsageView(total=UsageCountsView(**_counts(usage.total)), rows=_rows(usage.rows, by, names))


def _rows(
    groups: Sequence[Group], by: Sequence[Dimension], names: Mapping[str, str]
) -> tuple[UsageRowView, ...]:
    return tuple(UsageRowView(**_place(one, by, names), **_counts(one.counts)) for one in groups)


def admin_usage_view(usage: Usage, by: Sequence[Dimension], names: Mapping[str, str]) -> AdminUsageView:
    """A report as an admin sees it."""
    return AdminUsageView(
        total=AdminUsageCountsView(**_counts(usage.total), **_costs(usage.total)),
        rows=tuple(
            AdminUsageRowView(**_place(one, by, names), **_counts(one.counts), **_costs(one.counts))
            for one in usage.rows
        ),
    )


def _place(group: Group, by: Sequence[Dimension], names: Mapping[str, str]) -> dict[str, Any]:
    place: dict[str, Any] = {FIELDS.get(one, one): value for one, value in zip(by, group.of, strict=True)}
    if "key" in place:
        place["key_name"] = names.get(place["key"] or "")
    return place


def _counts(counts: Counts) -> dict[str, Any]:
    net = counts.charge_micros - counts.refund_micros
    return {
        "jobs": counts.jobs,
        "completed": counts.completed,
        "failed": counts.failed,
        "canceled": counts.canceled,
        "images": counts.images,
        "quoted_micros": counts.quote_micros,
        "cost": json_number(counts.charge_micros),
        "cost_micros": counts.charge_micros,
        "refund_micros": counts.refund_micros,
        "net": json_number(net),
        "net_micros": net,
    }


def _costs(counts: Counts) -> dict[str, Any]:
    margin = counts.charge_micros - counts.refund_micros - counts.cost_micros
    return {
        "provider_cost": json_number(counts.cost_micros),
        "provider_cost_micros": counts.cost_micros,
        "listed_cost_micros": counts.listed_micros,
        "margin": json_number(margin),
        "margin_micros": margin,
    }


def _sides(sides: Sides) -> dict[str, Any]:
    return {
        "amount": json_number(sides.total_micros),
        "amount_micros": sides.total_micros,
        "available_micros": sides.available_micros,
        "held_micros": sides.held_micros,
    }


def _movement(one: Movement) -> MovementView:
    return MovementView(
        **_sides(one.moved),
        id=one.id,
        at=iso(one.at),
        kind=one.kind,
        text=TEXTS.get(one.kind, one.kind),
        job_id=one.job_id,
        reference=one.reference,
        note=one.note,
    )


def ledger_view(movements: Sequence[Movement], more: str | None) -> LedgerView:
    """A page of a ledger, and the cursor of the next."""
    return LedgerView(entries=tuple(map(_movement, movements)), next_cursor=more)


def _summed(one: Summed) -> SummedView:
    return SummedView(**_sides(one.moved), kind=one.kind, text=TEXTS.get(one.kind, one.kind), count=one.count)


def statement_view(
    found: Statement, balance: Balance, whose: tuple[str, str], names: Mapping[str, str], at: int
) -> StatementView:
    """A month as its account sees it.

    Args:
        found: the month.
        balance: says whether the account pays afterwards.
        whose: the account's id and name.
        names: of its API keys, by their ids.
        at: now, in milliseconds UTC.
    """
    due = max(0, -found.closing.total_micros) if balance.postpaid else 0
    return StatementView(
        account_id=whose[0],
        account_name=whose[1],
        month=found.month,
        first=iso(found.start)[:10],
        last=iso(found.end - DAY_MS)[:10],
        provisional=at < found.end,
        made_at=iso(at),
        currency=CURRENCY,
        postpaid=balance.postpaid,
        opening=SidesView(**_sides(found.opening)),
        movements=tuple(map(_summed, found.movements)),
        closing=SidesView(**_sides(found.closing)),
        due=json_number(due),
        due_micros=due,
        models=_rows(found.models, ("model",), names),
        keys=_rows(found.keys, ("key",), names),
        entries=tuple(map(_movement, found.others)),
        entries_left_off=found.others_left_off,
    )


def month_links(months: Sequence[str], now: str) -> StatementList:
    """The months that have a statement; `now` is the one that is not over."""
    return StatementList(
        statements=tuple(
            MonthLink(month=month, provisional=month >= now, url=f"/api/billing/statements/{month}")
            for month in months
        )
    )


def columns_of(view: type[Struct], by: Sequence[Dimension] = ()) -> dict[str, str]:
    """What a table of such rows has: of each column the field and, as its title, its name over the wire.

    Args:
        view: the rows' type.
        by: the report's dimensions, which come first.
    """
    titles = {one.name: one.encode_name for one in structs.fields(view)}
    first = [FIELDS.get(one, one) for one in by]
    if "key" in first:
        first.insert(first.index("key") + 1, "key_name")
    rest = [name for name in titles if name not in PLACES]
    return {name: titles[name] for name in (*first, *rest)}
