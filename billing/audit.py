"""Does the ledger add up? Read-only, in SQL: the rows that are wrong are all that is fetched."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Subquery, and_, case, exists, func, or_, select

from billing.tables import hold, ledger_entry, wallet

__all__ = ["Finding", "verify"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with the money."""

    code: str
    """`ledger_sum, transfer_sum, hold_end, orphan_entries, wallet_sum, wallet_negative` or
    `orphan_account`."""
    subject: str
    """The job, account or ledger account that it is about."""
    detail: str


def verify(conn: Connection) -> list[Finding]:
    """Everything that breaks a rule of the ledger; empty when all is well.

    - all entries sum to zero, and so do those of each (job, kind);
    - each hold has its entry and exactly one end, with the amounts that its row says;
    - no hold, capture or release is without a hold's row;
    - each wallet is what its entries sum to, and below zero only when postpaid;
    - no account has entries without a wallet.

    Run it on one snapshot: in one `Database.read`.
    """
    return [*_sums(conn), *_holds(conn), *_orphans(conn), *_wallets(conn)]


def _sums(conn: Connection) -> Iterator[Finding]:
    e = ledger_entry.c
    total = conn.execute(select(func.coalesce(func.sum(e.amount_micros), 0))).scalar_one()
    if total:
        yield Finding(code="ledger_sum", subject="ledger", detail=f"all entries sum to {total}")
    each = select(e.reference, e.kind, func.sum(e.amount_micros).label("total")).group_by(e.reference, e.kind)
    for row in conn.execute(each.having(func.sum(e.amount_micros) != 0)):
        yield Finding(code="transfer_sum", subject=row.reference, detail=f"{row.kind} sums to {row.total}")


def _holds(conn: Connection) -> Iterator[Finding]:
    moved = _moved()
    h, m = hold.c, moved.c
    charged = func.coalesce(h.captured_micros, 0)
    rest = case((h.status == "open", 0), else_=h.amount_micros - charged)
    wrong = or_(
        h.status.not_in(("open", "captured", "released")),
        (h.status == "open") != h.ended_at.is_(None),
        (h.status == "captured") != h.captured_micros.is_not(None),
        m.hold_sum != h.amount_micros,
        m.holds != 1,
        m.capture_sum != -charged,
        m.captures != case((h.status == "captured", 1), else_=0),
        m.release_sum != -rest,
        m.releases != case((or_(h.status == "released", rest > 0), 1), else_=0),
    )
    joined = hold.join(moved, m.job_id == h.job_id)
    for row in conn.execute(select(hold, moved).select_from(joined).where(wrong)):
        yield Finding(
            code="hold_end",
            subject=row.job_id,
            detail=f"{row.status} {row.amount_micros}, captured {row.captured_micros}; entries: "
            f"hold {row.hold_sum} ({row.holds}), capture {row.capture_sum} ({row.captures}), "
            f"release {row.release_sum} ({row.releases})",
        )


def _moved() -> Subquery:
    """Per hold, what its entries moved on its account's held side: sums and counts by kind."""
    h, e = hold.c, ledger_entry.c
    own = hold.outerjoin(
        ledger_entry,
        and_(
            e.reference == h.job_id,
            # With it SQLite finds them by their reference, and not by their account: those are many.
            e.kind.in_(("hold", "capture", "release")),
            e.ledger_account == "held:" + h.account_id,
        ),
    )

    def total(kind: str) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((e.kind == kind, e.amount_micros))), 0).label(f"{kind}_sum")

    def count(kind: str) -> ColumnElement[int]:
        return func.count(case((e.kind == kind, e.id))).label(f"{kind}s")

    columns: list[ColumnElement[Any]] = [h.job_id]
    for kind in ("hold", "capture", "release"):
        columns += [total(kind), count(kind)]
    return select(*columns).select_from(own).group_by(h.job_id).subquery()


def _orphans(conn: Connection) -> Iterator[Finding]:
    e = ledger_entry.c
    jobs = (
        select(e.reference)
        .where(e.kind.in_(("hold", "capture", "release")))
        .where(~exists().where(hold.c.job_id == e.reference))
        .distinct()
    )
    for job_id in conn.scalars(jobs):
        yield Finding(code="orphan_entries", subject=job_id, detail="entries of a job that has no hold")
    for side in ("available:", "held:"):
        owner = func.substr(e.ledger_account, len(side) + 1)
        accounts = (
            select(e.ledger_account)
            .where(e.ledger_account.startswith(side), ~exists().where(wallet.c.account_id == owner))
            .distinct()
        )
        for name in conn.scalars(accounts):
            yield Finding(
                code="orphan_account", subject=name, detail="entries of an account without a wallet"
            )


def _wallets(conn: Connection) -> Iterator[Finding]:
    w = wallet.c
    available, held = _balance_of("available:"), _balance_of("held:")
    rows = select(wallet, available.label("available"), held.label("held"))
    wrong = or_(w.available_micros != available, w.held_micros != held)
    for row in conn.execute(rows.where(wrong)):
        yield Finding(
            code="wallet_sum",
            subject=row.account_id,
            detail=f"available {row.available_micros}, entries say {row.available}; "
            f"held {row.held_micros}, entries say {row.held}",
        )
    negative = or_(and_(~w.postpaid, w.available_micros < 0), w.held_micros < 0)
    for row in conn.execute(select(wallet).where(negative)):
        yield Finding(
            code="wallet_negative",
            subject=row.account_id,
            detail=f"available {row.available_micros}, held {row.held_micros}",
        )


def _balance_of(prefix: str) -> ColumnElement[int]:
    """The sum of a wallet's entries on one side."""
    e = ledger_entry.c
    total = select(func.coalesce(func.sum(e.amount_micros), 0))
    return total.where(e.ledger_account == prefix + wallet.c.account_id).correlate(wallet).scalar_subquery()
