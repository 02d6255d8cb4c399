"""Does the ledger add up? Read-only, in SQL: the rows that are wrong are all that is fetched."""

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)

from billing.findings import Check, Finding, run
from billing.tables import hold, ledger_entry, wallet

__all__ = ["CHECKS", "verify"]


def verify(conn: Connection) -> list[Finding]:
    """Everything that breaks a rule of the ledger (`CHECKS`); empty when all is well.

    Run it on one snapshot: in one `Database.read`.
    """
    return run(conn, CHECKS, 0)


_E, _H, _W = ledger_entry.c, hold.c, wallet.c

# -- entries ----------------------------------------------------------------------------------------

# What an amount is taken from, and where it goes to; either may have an owner's name behind it.
_WAYS = {
    "hold": [("available:", "held:")],
    "capture": [("held:", "revenue")],
    "release": [("held:", "available:")],
    "cost": [("payable:", "cost:")],
    "recost": [("payable:", "cost:"), ("cost:", "payable:")],
    "topup": [("funding", "available:")],
    "promotion": [("promotions", "available:")],
    "refund": [("revenue", "available:")],
    "payout": [("available:", "funding")],
    "adjustment": [("available:", "adjustments"), ("adjustments", "available:")],
}
_OF_A_JOB = ("cost", "refund")
_MAYBE_OF_A_JOB = "recost"
"""What was billed for a request that no attempt is known for, or in sum, is of none."""
_EXPLAINED = ("adjustment", "recost")


def _totals() -> Select[Any]:
    total = func.sum(_E.amount_micros)
    columns: list[ColumnElement[Any]] = [literal("ledger").label("subject"), total.label("total")]
    return select(*columns).having(total != 0)


def _transfers() -> Select[Any]:
    total, entries = func.sum(_E.amount_micros), func.count()
    columns = (_E.reference.label("subject"), _E.kind, total.label("total"), entries.label("entries"))
    return select(*columns).group_by(_E.reference, _E.kind).having(or_(total != 0, entries != 2))


def _entries() -> Select[Any]:
    known = [
        and_(_E.kind == kind, or_(*(_is_side(source, -1) | _is_side(target, 1) for source, target in ways)))
        for kind, ways in _WAYS.items()
    ]
    wrong = or_(
        ~or_(*known),
        and_(_E.kind != _MAYBE_OF_A_JOB, _E.kind.in_(_OF_A_JOB) != _E.job_id.is_not(None)),
        and_(_E.kind.in_(_EXPLAINED), _E.note.is_(None)),
    )
    columns = (_E.id.label("subject"), _E.kind, _E.ledger_account, _E.amount_micros, _E.job_id)
    return select(*columns).where(wrong)


def _is_side(name: str, sign: int) -> ColumnElement[bool]:
    account, amount = _E.ledger_account, _E.amount_micros
    named = func.substr(account, 1, len(name)) == name if name.endswith(":") else account == name
    return and_(named, amount <= 0 if sign < 0 else amount >= 0)


# -- holds and refunds ------------------------------------------------------------------------------


def _holds() -> Select[Any]:
    moved = _moved()
    m = moved.c
    charged = func.coalesce(_H.captured_micros, 0)
    rest = case((_H.status == "open", 0), else_=_H.amount_micros - charged)
    wrong = or_(
        _H.status.not_in(("open", "captured", "released")),
        (_H.status == "open") != _H.ended_at.is_(None),
        (_H.status == "captured") != _H.captured_micros.is_not(None),
        m.hold_sum != _H.amount_micros,
        m.holds != 1,
        m.capture_sum != -charged,
        m.captures != case((_H.status == "captured", 1), else_=0),
        m.release_sum != -rest,
        m.releases != case((or_(_H.status == "released", rest > 0), 1), else_=0),
    )
    joined = hold.join(moved, m.job_id == _H.job_id)
    return select(_H.job_id.label("subject"), hold, moved).select_from(joined).where(wrong)


def _moved() -> Subquery:
    """Per hold, what its entries moved on its account's held side: sums and counts by kind."""
    # By the reference alone: an account has a great many entries.
    own = hold.outerjoin(
        ledger_entry, and_(_E.reference == _H.job_id, _E.kind.in_(("hold", "capture", "release")))
    )
    held = _E.ledger_account == "held:" + _H.account_id

    def total(kind: str) -> ColumnElement[int]:
        amount = case((and_(_E.kind == kind, held), _E.amount_micros))
        return func.coalesce(func.sum(amount), 0).label(f"{kind}_sum")

    def count(kind: str) -> ColumnElement[int]:
        return func.count(case((and_(_E.kind == kind, held), _E.id))).label(f"{kind}s")

    columns: list[ColumnElement[Any]] = [_H.job_id]
    for kind in ("hold", "capture", "release"):
        columns += [total(kind), count(kind)]
    return select(*columns).select_from(own).group_by(_H.job_id).subquery()


def _hold_detail(row: Row[Any]) -> str:
    return (
        f"{row.status} {row.amount_micros}, captured {row.captured_micros}; entries: "
        f"hold {row.hold_sum} ({row.holds}), capture {row.capture_sum} ({row.captures}), "
        f"release {row.release_sum} ({row.releases})"
    )


def _orphans() -> Select[Any]:
    return (
        select(_E.reference.label("subject"))
        .where(_E.kind.in_(("hold", "capture", "release")), ~exists().where(_H.job_id == _E.reference))
        .distinct()
    )


_GIVEN_BACK = ledger_entry.outerjoin(hold, _H.job_id == _E.job_id)
_IS_REFUND = (_E.kind == "refund", _E.ledger_account != "revenue")


def _refunds() -> Select[Any]:
    total, captured = func.sum(_E.amount_micros), func.coalesce(_H.captured_micros, 0)
    columns = (_E.job_id.label("subject"), total.label("refunded"), captured.label("captured"))
    query = select(*columns).select_from(_GIVEN_BACK).where(*_IS_REFUND)
    return query.group_by(_E.job_id, _H.captured_micros).having(total > captured)


def _refunds_of_others() -> Select[Any]:
    columns = (_E.reference.label("subject"), _E.job_id, _E.ledger_account, _H.account_id)
    query = select(*columns).select_from(_GIVEN_BACK).where(*_IS_REFUND)
    return query.where(_E.ledger_account != "available:" + _H.account_id)


# -- wallets ----------------------------------------------------------------------------------------


def _sums() -> CTE:
    """What the entries of each account of the ledger sum to."""
    # Of an expression: by the index of the column SQLite would look up entry after entry, all over the table.
    name = func.substr(_E.ledger_account, 1).label("name")
    return select(name, func.sum(_E.amount_micros).label("total")).group_by(name).cte("sums")


def _wallets() -> Select[Any]:
    sums_of = _sums()
    available, held = sums_of.alias("available"), sums_of.alias("held")
    joined = wallet.outerjoin(available, available.c.name == "available:" + _W.account_id)
    joined = joined.outerjoin(held, held.c.name == "held:" + _W.account_id)
    sums = [func.coalesce(side.c.total, 0) for side in (available, held)]
    columns = (
        _W.account_id.label("subject"),
        _W.available_micros,
        _W.held_micros,
        sums[0].label("available"),
        sums[1].label("held"),
    )
    wrong = or_(_W.available_micros != sums[0], _W.held_micros != sums[1])
    return select(*columns).select_from(joined).where(wrong)


def _lonely() -> Select[Any]:
    names = select(_E.ledger_account.label("subject")).distinct().subquery()
    name = names.c.subject
    of_nobody = [
        and_(
            func.substr(name, 1, len(side)) == side,
            ~exists().where(_W.account_id == func.substr(name, len(side) + 1)),
        )
        for side in ("available:", "held:")
    ]
    return select(name).where(or_(*of_nobody))


def _negative() -> Select[Any]:
    below = or_(and_(~_W.postpaid, _W.available_micros < 0), _W.held_micros < 0)
    return select(_W.account_id.label("subject"), wallet).where(below)


CHECKS = (
    Check(
        code="ledger_sum",
        rule="all entries sum to zero",
        query=_totals(),
        detail=lambda row: f"all entries sum to {row.total}",
    ),
    Check(
        code="transfer_sum",
        rule="each movement (reference and kind) has two entries that sum to zero",
        query=_transfers(),
        detail=lambda row: f"{row.kind} sums to {row.total} in {row.entries} entries",
    ),
    Check(
        code="entry_way",
        rule="each entry moves money as its kind does: from there to there, of a job or not, with its note",
        query=_entries(),
        detail=lambda row: f"{row.kind} of {row.amount_micros} on {row.ledger_account}, job {row.job_id}",
    ),
    Check(
        code="hold_end",
        rule="each hold has its entry and at most one end, with the amounts that its row says",
        query=_holds(),
        detail=_hold_detail,
    ),
    Check(
        code="orphan_entries",
        rule="no hold, capture or release is without a hold's row",
        query=_orphans(),
        detail=lambda row: "entries of a job that has no hold",
    ),
    Check(
        code="refund_excess",
        rule="no more is refunded of a job than was captured",
        query=_refunds(),
        detail=lambda row: f"refunded {row.refunded} of {row.captured}",
    ),
    Check(
        code="refund_account",
        rule="a refund goes to the account that paid",
        query=_refunds_of_others(),
        detail=lambda row: f"of {row.job_id}, which {row.account_id} paid, to {row.ledger_account}",
    ),
    Check(
        code="wallet_sum",
        rule="each wallet is what its entries sum to",
        query=_wallets(),
        detail=lambda row: (
            f"available {row.available_micros}, entries say {row.available}; "
            f"held {row.held_micros}, entries say {row.held}"
        ),
    ),
    Check(
        code="wallet_negative",
        rule="no wallet is below zero, unless it is postpaid",
        query=_negative(),
        detail=lambda row: f"available {row.available_micros}, held {row.held_micros}",
    ),
    Check(
        code="orphan_account",
        rule="no account has entries without a wallet",
        query=_lonely(),
        detail=lambda row: "entries of an account without a wallet",
    ),
)
