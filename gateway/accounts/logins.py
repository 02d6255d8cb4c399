"""The SQL of people: logins, sessions, sign-ups, resets and invitations.

Plain functions that take a connection and are told the time, in milliseconds UTC.
"""

from typing import Any, TypeVar

from msgspec import Struct, structs
from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from gateway.accounts.rows import AccountRow
from gateway.db.tables import account, invite, login, reset, session, signup

__all__ = [
    "InviteRow",
    "LoginRow",
    "ResetRow",
    "SessionHolder",
    "SessionRow",
    "SignupRow",
    "change_password",
    "find_invite",
    "find_login",
    "find_login_of",
    "find_reset",
    "find_session",
    "find_signup",
    "forget_old",
    "insert_invite",
    "insert_login",
    "insert_reset",
    "insert_session",
    "insert_signup",
    "is_known_network",
    "list_invites",
    "list_sessions",
    "note_session",
    "remove_session",
    "remove_sessions",
    "use_invite",
    "use_reset",
    "use_signup",
]

Row = TypeVar("Row", bound=Struct)


class LoginRow(Struct, frozen=True, kw_only=True):
    """A row of `login`."""

    account_id: str
    email: str
    password_hash: str
    created_at: int
    password_changed_at: int

    def __repr__(self) -> str:
        return f"LoginRow(account_id={self.account_id!r})"


class SessionRow(Struct, frozen=True, kw_only=True):
    """A row of `session`."""

    digest: str
    account_id: str
    created_at: int
    seen_at: int
    expires_at: int
    network: str
    user_agent: str


class SessionHolder(Struct, frozen=True, kw_only=True):
    """A session and whose it is."""

    session: SessionRow
    account: AccountRow


class SignupRow(Struct, frozen=True, kw_only=True):
    """A row of `signup`: asked for, and not verified before `used_at`."""

    id: str
    email: str
    password_hash: str
    tier: str
    invite_id: str | None
    created_at: int
    expires_at: int
    used_at: int | None = None

    def __repr__(self) -> str:
        return f"SignupRow(id={self.id!r})"


class ResetRow(Struct, frozen=True, kw_only=True):
    """A row of `reset`."""

    id: str
    account_id: str
    created_at: int
    expires_at: int
    used_at: int | None = None


class InviteRow(Struct, frozen=True, kw_only=True):
    """A row of `invite`."""

    id: str
    email: str | None
    tier: str
    created_by: str
    created_at: int
    expires_at: int
    used_by: str | None = None
    used_at: int | None = None


def _one(conn: Connection, table: Table, into: type[Row], *, lock: bool = False, **where: Any) -> Row | None:
    query = select(table).where(*(table.c[name] == value for name, value in where.items()))
    if lock:
        query = query.with_for_update()
    row = conn.execute(query).mappings().first()
    return into(**row) if row is not None else None


def _add(conn: Connection, table: Table, row: Struct) -> None:
    conn.execute(insert(table).values(**structs.asdict(row)))


def insert_login(conn: Connection, row: LoginRow) -> None:
    """Give an account its login.

    Raises:
        sqlalchemy.exc.IntegrityError: the address has one.
    """
    _add(conn, login, row)


def find_login(conn: Connection, email: str) -> LoginRow | None:
    """The login of an address, in small letters."""
    return _one(conn, login, LoginRow, email=email)


def find_login_of(conn: Connection, account_id: str) -> LoginRow | None:
    """An account's login; None when programs alone use it."""
    return _one(conn, login, LoginRow, account_id=account_id)


def change_password(conn: Connection, account_id: str, password_hash: str, at: int | None) -> None:
    """Keep another hash; `at` is None when it is one of the same password."""
    values: dict[str, Any] = {"password_hash": password_hash}
    if at is not None:
        values["password_changed_at"] = at
    conn.execute(update(login).where(login.c.account_id == account_id).values(**values))


def insert_session(conn: Connection, row: SessionRow) -> None:
    """Open a session."""
    _add(conn, session, row)


# Every request of a session asks this.
_SESSION = (
    select(
        *(session.c[name] for name in SessionRow.__struct_fields__),
        *(account.c[name] for name in AccountRow.__struct_fields__),
    )
    .join_from(session, account)
    .where(session.c.digest == bindparam("digest"))
)
_SESSION_SIZE = len(SessionRow.__struct_fields__)


def find_session(conn: Connection, digest: str) -> SessionHolder | None:
    """A session and its account, whether it has ended by itself or not."""
    row = conn.execute(_SESSION, {"digest": digest}).first()
    if row is None:
        return None
    found = dict(zip(SessionRow.__struct_fields__, row[:_SESSION_SIZE], strict=True))
    holder = dict(zip(AccountRow.__struct_fields__, row[_SESSION_SIZE:], strict=True))
    return SessionHolder(session=SessionRow(**found), account=AccountRow(**holder))


def list_sessions(conn: Connection, account_id: str) -> list[SessionRow]:
    """An account's sessions, oldest first."""
    query = select(session).where(session.c.account_id == account_id).order_by(session.c.created_at)
    return [SessionRow(**row) for row in conn.execute(query).mappings()]


def is_known_network(conn: Connection, account_id: str, network: str) -> bool:
    """Whether the account has a session that was opened from there."""
    query = select(session.c.digest).where(session.c.account_id == account_id, session.c.network == network)
    return conn.execute(query.limit(1)).first() is not None


def note_session(conn: Connection, digest: str, seen_at: int) -> None:
    """Note when a session was used."""
    conn.execute(update(session).where(session.c.digest == digest).values(seen_at=seen_at))


def remove_session(conn: Connection, digest: str) -> None:
    """End a session."""
    conn.execute(delete(session).where(session.c.digest == digest))


def remove_sessions(conn: Connection, account_id: str) -> int:
    """End every session of an account; how many they were."""
    return conn.execute(delete(session).where(session.c.account_id == account_id)).rowcount


def insert_signup(conn: Connection, row: SignupRow) -> None:
    """Keep a sign-up until its link is followed."""
    _add(conn, signup, row)


def find_signup(conn: Connection, signup_id: str, *, lock: bool = False) -> SignupRow | None:
    """A sign-up; `lock` keeps others from using it until the transaction ends, which is one that writes."""
    return _one(conn, signup, SignupRow, lock=lock, id=signup_id)


def use_signup(conn: Connection, signup_id: str, at: int) -> None:
    """Note that the link was followed."""
    conn.execute(update(signup).where(signup.c.id == signup_id).values(used_at=at))


def insert_reset(conn: Connection, row: ResetRow) -> None:
    """Keep a reset until its link is followed."""
    _add(conn, reset, row)


def find_reset(conn: Connection, reset_id: str, *, lock: bool = False) -> ResetRow | None:
    """A reset; `lock` keeps others from using it until the transaction ends, which is one that writes."""
    return _one(conn, reset, ResetRow, lock=lock, id=reset_id)


def use_reset(conn: Connection, account_id: str, at: int) -> None:
    """Use up every reset of an account: one new password makes all other links worthless."""
    unused = (reset.c.account_id == account_id, reset.c.used_at.is_(None))
    conn.execute(update(reset).where(*unused).values(used_at=at))


def insert_invite(conn: Connection, row: InviteRow) -> None:
    """Keep an invitation."""
    _add(conn, invite, row)


def find_invite(conn: Connection, invite_id: str) -> InviteRow | None:
    """An invitation."""
    return _one(conn, invite, InviteRow, id=invite_id)


def list_invites(conn: Connection) -> list[InviteRow]:
    """Every invitation, oldest first."""
    query = select(invite).order_by(invite.c.created_at, invite.c.id)
    return [InviteRow(**row) for row in conn.execute(query).mappings()]


def use_invite(conn: Connection, invite_id: str, account_id: str, at: int) -> bool:
    """Use an invitation up; False when somebody was quicker."""
    unused = (invite.c.id == invite_id, invite.c.used_at.is_(None))
    return conn.execute(update(invite).where(*unused).values(used_by=account_id, used_at=at)).rowcount == 1


def forget_old(conn: Connection, at: int) -> None:
    """Remove what has run out: sessions, sign-ups and resets."""
    for table in (session, signup, reset):
        conn.execute(delete(table).where(table.c.expires_at < at))
