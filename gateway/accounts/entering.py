"""Entering a movement of money: once by its reference, and what refuses it told as a problem."""

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from billing import corrections, ledger
from billing.corrections import Kind, Posting
from billing.money import usd
from gateway.ambient import iso
from gateway.db.engine import Database
from gateway.problems import Problem

__all__ = ["Asked", "enter", "no_account"]

T = TypeVar("T")
_WORDS = {
    "topup": "A payment",
    "promotion": "A credit",
    "refund": "A refund",
    "payout": "A pay-out",
    "adjustment": "An adjustment",
}


class Asked(Struct, frozen=True, kw_only=True):
    """A movement that somebody asks for."""

    kind: Kind
    reference: str
    account_id: str | None = None
    """None: of whoever paid for the job."""
    amount_micros: int | None = None
    """None: whatever is left."""
    job_id: str | None = None

    def is_same(self, found: Posting) -> bool:
        """Whether that is what was entered."""
        return (
            found.job_id == self.job_id
            and self.account_id in (None, found.account_id)
            and self.amount_micros in (None, found.amount_micros)
        )


async def enter(db: Database, asked: Asked, fn: Callable[[Connection], T]) -> T:
    """Run a function that enters a movement, in a transaction.

    Args:
        db: the database.
        asked: what it enters.
        fn: enters it.

    Raises:
        Problem: `reference_used`, `reference_conflict`, `not_found`, `insufficient_funds`,
            `nothing_to_refund`, `refund_too_large`.
    """
    try:
        return await db.write(fn)
    except corrections.ReferenceUsed as error:
        raise _used(asked, error.found) from error
    except IntegrityError as error:
        # Somebody else entered it at the same moment.
        found = await db.read(lambda c: corrections.find_posting(c, asked.kind, asked.reference))
        if found is None:
            raise
        raise _used(asked, found) from error
    except ledger.UnknownWallet as error:
        raise no_account(str(error)) from error
    except ledger.UnknownHold as error:
        raise Problem("not_found", f"No job has the id {asked.job_id!r}") from error
    except ledger.InsufficientFunds as error:
        raise Problem("insufficient_funds", f"{error}. Nothing was changed") from error
    except corrections.NothingToRefund as error:
        raise Problem("nothing_to_refund", f"{str(error).capitalize()}", job_id=asked.job_id) from error
    except corrections.RefundTooLarge as error:
        raise Problem("refund_too_large", f"{error}. Nothing was changed", job_id=asked.job_id) from error


def no_account(account_id: str) -> Problem:
    """There is no such account."""
    return Problem("not_found", f"No account has the id {account_id!r}; `gateway account list` shows them")


def _used(asked: Asked, found: Posting) -> Problem:
    what = f"{_WORDS[found.kind]} with the reference {found.reference!r}"
    if asked.is_same(found):
        return Problem(
            "reference_used", f"{what} was entered before, at {iso(found.at)}; nothing was changed"
        )
    of = "" if found.job_id is None else f" of the job {found.job_id}"
    return Problem(
        "reference_conflict",
        f"{what} was entered before, at {iso(found.at)}, and it is another: {usd(found.amount_micros)} USD "
        f"of the account {found.account_id}{of}. Nothing was changed; give this one a reference of its own",
    )
