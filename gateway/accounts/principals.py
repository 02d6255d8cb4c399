"""From a request's credential to who calls. Decided before the body is read, by `gateway.access`."""

import asyncio
import hmac
import logging
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from gateway.accounts.audit import Actor
from gateway.accounts.keys import PREFIX, is_key_of, read_key
from gateway.accounts.logins import SessionHolder, find_session, note_session
from gateway.accounts.rows import AccountRow, KeyRow, find_holder, note_use
from gateway.accounts.scopes import SCOPES, Scope, read_scopes
from gateway.accounts.sessions import IDLE_MS, SESSION_PREFIX, session_digest
from gateway.ambient import Ambient, iso
from gateway.db.engine import Database, DatabaseError
from gateway.problems import Problem

__all__ = ["OPERATOR", "Caller", "Gatekeeper", "Principal", "operator_at"]

log = logging.getLogger(__name__)

OPERATOR = "acc_local_operator"
"""The account of whoever reaches the loopback address in open mode. Pays afterwards."""

NOTED_EVERY_MS = 60_000
"""`last_used_at` is true to a minute: a write for each request would cost more than the look-up."""

HOW = "Send an API key: 'Authorization: Bearer igw_...'; `gateway keys create ACCOUNT` makes one"
HOW_SESSION = "Sign in again: POST /api/auth/signin"
CHALLENGE = 'Bearer realm="image-gateway"'

EVERYTHING = frozenset(SCOPES)


class Caller(Struct, frozen=True, kw_only=True):
    """What a request shows of who sends it."""

    authorization: list[str]
    """The Authorization headers."""
    cookie: str | None
    """The session cookie."""
    address: str
    changes: bool
    """Its method may change something."""
    own_page: bool
    """A browser says that a page of ours sent it."""


class Principal(Struct, frozen=True, kw_only=True):
    """Who calls."""

    account_id: str
    tier: str
    """normal or premium"""
    admin: bool
    scopes: frozenset[Scope]
    key: KeyRow | None = None
    """The API key that was sent."""
    session: str | None = None
    """The digest of the session that was sent."""
    address: str = "-"
    resend_window_s: int | None = None
    """As its account has it."""
    price_list: str | None = None
    """As its account has it."""

    @property
    def actor(self) -> Actor:
        """Who acts, for the audit log."""
        credential = f"key:{self.key.id}" if self.key else "session" if self.session else "operator"
        return Actor(account_id=self.account_id, credential=credential, address=self.address)


def operator_at(address: str) -> Principal:
    """The local operator."""
    return Principal(account_id=OPERATOR, tier="premium", admin=True, scopes=EVERYTHING, address=address)


class Gatekeeper:
    """Knows the principal of a credential.

    Args:
        db: has accounts, keys and sessions.
        ambient: time.
        open_to_all: whether a request without a credential of ours is the local operator's.
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

    async def principal(self, caller: Caller) -> Principal:
        """Who sends a request.

        In open mode a credential that is none of ours is no reason to refuse: many clients cannot
        be kept from sending one. One of ours counts, and a wrong one is refused.

        Raises:
            Problem: `authentication_required`, `invalid_api_key`, `account_closed`,
                `cross_site_request`.
            DatabaseUnavailable: the keys cannot be read.
        """
        token = _bearer(caller.authorization)
        if token.startswith(SESSION_PREFIX):
            return await self._of_session(token, caller)
        if token.startswith(PREFIX):
            return await self._of_key(token, caller)
        if caller.cookie is not None and not token:
            if caller.changes and not caller.own_page:
                raise Problem(
                    "cross_site_request",
                    "A session cookie counts only where a page of this gateway sends it. Programs send the "
                    "token: 'Authorization: Bearer igs_...'",
                )
            return await self._of_session(caller.cookie, caller)
        if self._open:
            return operator_at(caller.address)
        raise _refused("authentication_required", HOW, CHALLENGE)

    async def _of_key(self, text: str, caller: Caller) -> Principal:
        if self._operator_key is not None and hmac.compare_digest(text.encode(), self._operator_key.encode()):
            return operator_at(caller.address)
        read = read_key(text)
        if read is None:
            raise _invalid("The API key is not whole: it was mistyped, cut off, or is of another gateway")
        key_id, digest = read
        holder = await self._db.read(lambda c: find_holder(c, key_id))
        if holder is None or not is_key_of(digest, holder.key.digest):
            raise _invalid("No such API key")
        self._check_key(holder.key)
        self._note(f"key:{key_id}", lambda c, at: note_use(c, key_id, at))
        scopes = read_scopes(holder.key.scopes)
        found = self._principal(holder.account, caller)
        return replace(found, admin=found.admin and "admin" in scopes, scopes=scopes, key=holder.key)

    async def _of_session(self, token: str, caller: Caller) -> Principal:
        digest = session_digest(token)
        holder = await self._db.read(lambda c: find_session(c, digest)) if digest else None
        if digest is None or holder is None or self._has_ended(holder):
            raise _refused(
                "invalid_session",
                f"The session has ended, or never was. {HOW_SESSION}",
                f'{CHALLENGE}, error="invalid_token"',
            )
        self._note(f"session:{digest}", lambda c, at: note_session(c, digest, at))
        return replace(self._principal(holder.account, caller), session=digest)

    def _has_ended(self, holder: SessionHolder) -> bool:
        now = self._ambient.now_ms()
        # When it was seen is noted once a minute: it is never cut short for that.
        return now >= holder.session.expires_at or now >= holder.session.seen_at + IDLE_MS + NOTED_EVERY_MS

    def _principal(self, account: AccountRow, caller: Caller) -> Principal:
        if account.closed_at is not None:
            raise Problem("account_closed", "The account was closed; ask whoever runs this gateway")
        return Principal(
            account_id=account.id,
            tier=account.tier_at(self._ambient.now_ms()),
            admin=account.admin,
            scopes=EVERYTHING,
            address=caller.address,
            resend_window_s=account.resend_window_s,
            price_list=account.price_list,
        )

    def _check_key(self, key: KeyRow) -> None:
        """Refuse a key that is no longer good; its holder may know why."""
        if key.revoked_at is not None:
            raise _invalid(f"The API key {PREFIX}{key.id} was revoked at {iso(key.revoked_at)}")
        if key.expires_at is not None and key.expires_at <= self._ambient.now_ms():
            raise _invalid(f"The API key {PREFIX}{key.id} expired at {iso(key.expires_at)}")

    def _note(self, name: str, write: Callable[[Connection, int], None]) -> None:
        """Note a use, not more than once a minute, without making the caller wait."""
        at = self._ambient.now_ms()
        if at - self._noted.get(name, 0) < NOTED_EVERY_MS:
            return
        self._noted[name] = at
        task = asyncio.create_task(self._write_note(name, write, at))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_note(self, name: str, write: Callable[[Connection, int], None], at: int) -> None:
        try:
            await self._db.write(lambda c: write(c, at))
        except DatabaseError as error:  # the request itself will say so, if it needs to write
            log.warning("the use of the %s was not noted: %s", name.partition(":")[0], error)

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
