"""What goes over the wire about money that an operator moves. camelCase outside."""

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct, structs

from billing.findings import Finding
from billing.money import json_number
from gateway.accounts.amounts import CHANGES, MAX_TOP_UP_USD
from gateway.accounts.money import Moved
from gateway.accounts.schemas import AccountView, Amount, account_view
from gateway.ambient import iso
from gateway.books import Look

__all__ = [
    "AdjustRequest",
    "BooksView",
    "CreditRequest",
    "MovedView",
    "PayOutRequest",
    "RefundRequest",
    "RefundView",
    "books_view",
    "moved_view",
    "refund_view",
]

_CHANGE = {
    "type": ["number", "string"],
    "description": CHANGES,
    "minimum": -MAX_TOP_UP_USD,
    "maximum": MAX_TOP_UP_USD,
    "pattern": r"^-?[0-9]{1,7}([.][0-9]{1,6})?$",
    "not": {"const": 0},
}
Reference = Annotated[str, Meta(min_length=1, max_length=40)]
Note = Annotated[str, Meta(min_length=1, max_length=500)]


class RefundRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/refund`."""

    job_id: str
    amount: Amount | None = None
    """US dollars; what is left of the job's charge when not given."""
    reference: Reference | None = None
    """The refund's own id: a second use of it is refused."""
    note: Note | None = None
    """Why."""


class CreditRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/credit`."""

    account_id: str
    amount: Amount
    """US dollars."""
    reference: Reference | None = None
    """Its own id: a second use of it is refused."""
    note: Note | None = None
    """Why."""


class PayOutRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/payout`."""

    account_id: str
    amount: Amount
    """US dollars; of a prepaid account, no more than it has available."""
    reference: Reference | None = None
    """The payment's own id: a second use of it is refused."""
    note: Note | None = None
    """Why."""


class AdjustRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/adjust`."""

    account_id: str
    amount: Annotated[Decimal, Meta(extra_json_schema=_CHANGE)]
    """US dollars, below 0 to take them; of a prepaid account, no more than it has available."""
    note: Note
    """Why."""
    reference: Reference | None = None
    """Its own id: a second use of it is refused."""


class MovedView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Money that was moved."""

    kind: str
    """promotion, refund, payout or adjustment"""
    reference: str
    amount: Decimal
    """US dollars that the account got; below 0: that it gave."""
    amount_micros: int
    account: AccountView
    """As it is now."""


class RefundView(MovedView, frozen=True, kw_only=True, rename="camel"):
    """A charge that was given back, or a part of one."""

    job_id: str
    refunded: Decimal
    """US dollars that were given back of the job's charge in all."""


class BooksView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether the books are right."""

    ok: bool
    checked_at: str
    took_ms: int
    findings: tuple[Finding, ...]
    """What breaks a rule, at most 1,000 rows of each."""


def moved_view(moved: Moved, at: int) -> MovedView:
    """A movement as the operator sees it, at a time in milliseconds UTC."""
    posting = moved.posting
    return MovedView(
        kind=posting.kind,
        reference=posting.reference,
        amount=json_number(posting.amount_micros),
        amount_micros=posting.amount_micros,
        account=account_view(moved.funded, at),
    )


def refund_view(moved: Moved, at: int) -> RefundView:
    """A refund as the operator sees it, at a time in milliseconds UTC."""
    return RefundView(
        **structs.asdict(moved_view(moved, at)),
        job_id=moved.posting.job_id or "",
        refunded=json_number(moved.refunded_micros),
    )


def books_view(look: Look) -> BooksView:
    """What was found, as an operator sees it."""
    return BooksView(
        ok=not look.findings, checked_at=iso(look.at), took_ms=look.took_ms, findings=look.findings
    )
