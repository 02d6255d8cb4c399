"""What an operator does with money beside entering payments: refunds, credits, pay-outs, adjustments."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from msgspec import Struct, structs
from sqlalchemy import Connection

from billing import corrections, ledger
from billing.corrections import Kind, Posting
from gateway.accounts import audit
from gateway.accounts.amounts import micros_of
from gateway.accounts.audit import Actor
from gateway.accounts.entering import Asked, enter
from gateway.accounts.rows import find_account
from gateway.accounts.service import Funded
from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.jobs import refunds

__all__ = ["Money", "Moved"]

_NAMES = {
    "promotion": ("crd", "account.credit"),
    "refund": ("ref", "account.refund"),
    "payout": ("pay", "account.payout"),
    "adjustment": ("adj", "account.adjust"),
}
"""How the references that we make begin, and what the audit log calls it."""


class Moved(Struct, frozen=True, kw_only=True):
    """A posting that was entered, and its account as it is then."""

    posting: Posting
    funded: Funded
    refunded_micros: int = 0
    """Of a refund: what was given back of the job's charge in all."""


class Money:
    """Moves money, and writes down who did.

    Args:
        db: keeps the ledger.
        ambient: time and ids.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient

    async def credit(
        self, account_id: str, dollars: Decimal, reference: str | None, note: str | None, by: Actor
    ) -> Moved:
        """Give an account credit that nobody paid for.

        Args:
            account_id: whose.
            dollars: more than 0.
            reference: its own id, which counts once; one is made when not given.
            note: why.
            by: who gives it.

        Raises:
            Problem: `not_found`, `invalid_body`, `reference_used`, `reference_conflict`.
        """
        amount = micros_of(dollars, "/amount")
        asked = self._asked("promotion", reference, account_id, amount)

        step = partial(corrections.promote, account_id=account_id, amount_micros=amount, note=note)
        return await self._move(asked, step, by)

    async def pay_out(
        self, account_id: str, dollars: Decimal, reference: str | None, note: str | None, by: Actor
    ) -> Moved:
        """Enter that money was paid back to an account's holder.

        Args:
            account_id: whose.
            dollars: more than 0, and of a prepaid account no more than it has.
            reference: the payment's own id, which counts once; one is made when not given.
            note: why.
            by: who enters it.

        Raises:
            Problem: `insufficient_funds`, and as `credit`.
        """
        amount = micros_of(dollars, "/amount")
        asked = self._asked("payout", reference, account_id, -amount)

        step = partial(corrections.pay_out, account_id=account_id, amount_micros=amount, note=note)
        return await self._move(asked, step, by)

    async def adjust(
        self, account_id: str, dollars: Decimal, reference: str | None, note: str, by: Actor
    ) -> Moved:
        """Put a balance right.

        Args:
            account_id: whose.
            dollars: above 0 to add, below to take.
            reference: its own id, which counts once; one is made when not given.
            note: why.
            by: who does it.

        Raises:
            Problem: `insufficient_funds`, and as `credit`.
        """
        amount = micros_of(dollars, "/amount", signed=True)
        asked = self._asked("adjustment", reference, account_id, amount)

        step = partial(corrections.adjust, account_id=account_id, amount_micros=amount, note=note)
        return await self._move(asked, step, by)

    async def refund(
        self, job_id: str, dollars: Decimal | None, reference: str | None, note: str | None, by: Actor
    ) -> Moved:
        """Give back what a job was charged, or a part of it.

        Args:
            job_id: of an account that was charged for it.
            dollars: more than 0; None: what is left of the charge.
            reference: the refund's own id, which counts once; one is made when not given.
            note: why.
            by: who gives it back.

        Raises:
            Problem: `not_found`, `invalid_body`, `nothing_to_refund`, `refund_too_large`,
                `reference_used`, `reference_conflict`.
        """
        amount = None if dollars is None else micros_of(dollars, "/amount")
        asked = structs.replace(self._asked("refund", reference, None, amount), job_id=job_id)

        step = partial(refunds.refund, job_id=job_id, amount_micros=amount, note=note)
        return await self._move(asked, step, by)

    def _asked(
        self, kind: Kind, reference: str | None, account_id: str | None, amount_micros: int | None
    ) -> Asked:
        return Asked(
            kind=kind,
            reference=reference or self._ambient.new_id(_NAMES[kind][0]),
            account_id=account_id,
            amount_micros=amount_micros,
        )

    async def _move(self, asked: Asked, step: Callable[..., object], by: Actor) -> Moved:
        """Run one step of `billing.corrections` under the reference, and write down who did."""
        at = self._ambient.now_ms()

        def write(conn: Connection) -> Moved:
            step(conn, reference=asked.reference, at=at)
            posting = corrections.find_posting(conn, asked.kind, asked.reference)
            if posting is None:
                raise LookupError(f"{asked.reference} was not written")
            job = {} if asked.job_id is None else {"job": asked.job_id}
            audit.record(
                conn,
                self._ambient,
                by,
                _NAMES[asked.kind][1],
                posting.account_id,
                at,
                micros=posting.amount_micros,
                reference=asked.reference,
                **job,
            )
            return _as_it_is(conn, posting)

        return await enter(self._db, asked, write)


def _as_it_is(conn: Connection, posting: Posting) -> Moved:
    account = find_account(conn, posting.account_id)
    if account is None:
        raise ledger.UnknownWallet(posting.account_id)
    return Moved(
        posting=posting,
        funded=Funded(account=account, balance=ledger.balance(conn, posting.account_id)),
        refunded_micros=0 if posting.job_id is None else corrections.refunded_of(conn, posting.job_id),
    )
