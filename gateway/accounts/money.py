"""What an operator does with money beside entering payments: refunds, credits, pay-outs, adjustments."""

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct, structs
from sqlalchemy import Connection

from billing import corrections, ledger
from billing.corrections import Kind, Movement
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
    """A movement that was entered, and its account as it is then."""

    movement: Movement
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

        def give(conn: Connection, at: int) -> None:
            corrections.promote(
                conn,
                account_id=account_id,
                amount_micros=amount,
                reference=asked.reference,
                at=at,
                note=note,
            )

        return await self._move(asked, give, by)

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

        def pay(conn: Connection, at: int) -> None:
            corrections.pay_out(
                conn,
                account_id=account_id,
                amount_micros=amount,
                reference=asked.reference,
                at=at,
                note=note,
            )

        return await self._move(asked, pay, by)

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

        def change(conn: Connection, at: int) -> None:
            corrections.adjust(
                conn,
                account_id=account_id,
                amount_micros=amount,
                reference=asked.reference,
                at=at,
                note=note,
            )

        return await self._move(asked, change, by)

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

        def give_back(conn: Connection, at: int) -> Movement:
            return refunds.refund(
                conn, job_id=job_id, amount_micros=amount, reference=asked.reference, at=at, note=note
            )

        return await self._move(asked, give_back, by)

    def _asked(
        self, kind: Kind, reference: str | None, account_id: str | None, amount_micros: int | None
    ) -> Asked:
        return Asked(
            kind=kind,
            reference=reference or self._ambient.new_id(_NAMES[kind][0]),
            account_id=account_id,
            amount_micros=amount_micros,
        )

    async def _move(self, asked: Asked, fn: Callable[[Connection, int], Movement | None], by: Actor) -> Moved:
        at = self._ambient.now_ms()

        def write(conn: Connection) -> Moved:
            fn(conn, at)
            movement = corrections.find_movement(conn, asked.kind, asked.reference)
            if movement is None:
                raise LookupError(f"{asked.reference} was not written")
            job = {} if asked.job_id is None else {"job": asked.job_id}
            audit.record(
                conn,
                self._ambient,
                by,
                _NAMES[asked.kind][1],
                movement.account_id,
                at,
                micros=movement.amount_micros,
                reference=asked.reference,
                **job,
            )
            return _as_it_is(conn, movement)

        return await enter(self._db, asked, write)


def _as_it_is(conn: Connection, movement: Movement) -> Moved:
    account = find_account(conn, movement.account_id)
    if account is None:
        raise ledger.UnknownWallet(movement.account_id)
    return Moved(
        movement=movement,
        funded=Funded(account=account, balance=ledger.balance(conn, movement.account_id)),
        refunded_micros=0 if movement.job_id is None else corrections.refunded_of(conn, movement.job_id),
    )
