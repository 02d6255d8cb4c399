"""From a request's credential to who calls. Decided before the body is read, by `gateway.access`."""

import asyncio
import hmac
import logging

from msgspec import Struct

from gateway.accounts.keys import PREFIX, is_key_of, read_key
from gateway.accounts.rows import KeyRow, find_holder, note_use
from gateway.ambient import Ambient, iso
from gateway.db.engine import Database, DatabaseError
from gateway.problems import Problem

__all__ = ["OPERATOR", "OPERATOR_PRINCIPAL", "Gatekeeper", "Principal"]

log = logging.getLogger(__name__)

OPERATOR = "acc_local_operator"
"""The account of whoever reaches the loopback address in open mode. Pays afterwards."""

NOTED_EVERY_MS = 60_000
"""`last_used_at` is true to a minute: a write for each request would cost more than the look-up."""

HOW = "Send an API key: 'Authorization: Bearer igw_...'; `gateway keys create ACCOUNT` makes one"
CHALLENGE = 'Bearer realm="image-gateway"'


class Principal(Struct, frozen=True, kw_only=True):
    """Who calls."""

    account_id: str
    tier: str
    """normal or premium"""
    admin: bool
    key_id: str | None
    """The API key that was sent; None for the local operator."""


OPERATOR_PRINCIPAL = Principal(account_id=OPERATOR, tier="premium", admin=True, key_id=None)


class Gatekeeper:
    """Knows the principal of a credential.

    Args:
        db: has accounts and keys.
        ambient: time.
        open_to_all: whether a request without a key of ours is the local operator's.
        operator_key: the key that stands for the operator; none when not given.
    """

    def __init__(
        self, db: Database, ambient: Ambient, *, open_to_all: bool, operator_key: str | None
    ) -> None:
        self._db = db
        self._ambient = ambient
        self._open = open_to_all
        self._operator_key = operator_key
        self._noted: dict[str, int] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def principal(self, authorization: list[str]) -> Principal:
        """Who sends a request with these Authorization headers.

        In open mode a credential that is none of ours is no reason to refuse: many clients cannot
        be kept from sending one. One of ours counts, and a wrong one is refused.

        Raises:
            Problem: `authentication_required`, `invalid_api_key`.
            DatabaseUnavailable: the keys cannot be read.
        """
        key = _bearer(authorization)
        if not key.startswith(PREFIX):
            if self._open:
                return OPERATOR_PRINCIPAL
            raise _refused("authentication_required", HOW, CHALLENGE)
        if self._operator_key is not None and hmac.compare_digest(key.encode(), self._operator_key.encode()):
            return OPERATOR_PRINCIPAL
        read = read_key(key)
        if read is None:
            raise _invalid("The API key is not whole: it was mistyped, cut off, or is of another gateway")
        key_id, digest = read
        holder = await self._db.read(lambda c: find_holder(c, key_id))
        if holder is None or not is_key_of(digest, holder.key.digest):
            raise _invalid("No such API key")
        self._check(holder.key)
        self._note(key_id)
        account = holder.account
        return Principal(account_id=account.id, tier=account.tier, admin=account.admin, key_id=key_id)

    def _check(self, key: KeyRow) -> None:
        """Refuse a key that is no longer good; its holder may know why."""
        if key.revoked_at is not None:
            raise _invalid(f"The API key {PREFIX}{key.id} was revoked at {iso(key.revoked_at)}")
        if key.expires_at is not None and key.expires_at <= self._ambient.now_ms():
            raise _invalid(f"The API key {PREFIX}{key.id} expired at {iso(key.expires_at)}")

    def _note(self, key_id: str) -> None:
        """Note the use of a key, not more than once a minute, without making the caller wait."""
        at = self._ambient.now_ms()
        if at - self._noted.get(key_id, 0) < NOTED_EVERY_MS:
            return
        self._noted[key_id] = at
        task = asyncio.create_task(self._write_note(key_id, at))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_note(self, key_id: str, at: int) -> None:
        try:
            await self._db.write(lambda c: note_use(c, key_id, at))
        except DatabaseError as error:  # the request itself will say so, if it needs to write
            log.warning("the use of the key %s was not noted: %s", key_id, error)

    async def aclose(self) -> None:
        """Finish the notes. Call it before the database is closed."""
        await asyncio.gather(*self._notes)


def _bearer(authorization: list[str]) -> str:
    """The token of an Authorization header (RFC 6750); empty when there is none, or several."""
    if len(authorization) != 1:
        return ""
    scheme, _, token = authorization[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _invalid(why: str) -> Problem:
    return _refused("invalid_api_key", f"{why}. {HOW}", f'{CHALLENGE}, error="invalid_token"')


def _refused(code: str, detail: str, challenge: str) -> Problem:
    return Problem(code, detail, headers={"WWW-Authenticate": challenge})
