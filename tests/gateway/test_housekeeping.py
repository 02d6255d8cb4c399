"""What has run out is forgotten, and nothing else."""

import pytest
from sqlalchemy import select

from gateway import limits
from gateway.accounts import logins, rows
from gateway.accounts.logins import ResetRow, SessionRow, SignupRow
from gateway.db.tables import bucket, reset, session, signup
from gateway.housekeeping import DAY_MS, forget

NOW = 1_795_000_000_000
GONE, KEPT = NOW - DAY_MS - 1, NOW - DAY_MS + 1


pytestmark = pytest.mark.every_database


def test_what_ran_out_a_day_ago_is_forgotten(conn) -> None:
    rows.ensure_account(conn, account_id="a", name="A", postpaid=False, at=1)
    for name, at in (("gone", GONE), ("kept", KEPT)):
        logins.insert_session(
            conn,
            SessionRow(
                digest=name,
                account_id="a",
                created_at=1,
                seen_at=1,
                expires_at=at,
                network="-",
                user_agent="",
            ),
        )
        logins.insert_signup(
            conn,
            SignupRow(
                id=name,
                email="a@b.org",
                password_hash="x",
                tier="normal",
                invite_id=None,
                created_at=1,
                expires_at=at,
            ),
        )
        logins.insert_reset(conn, ResetRow(id=name, account_id="a", created_at=1, expires_at=at))
        limits.take(conn, limits.Limit(name="x", burst=1, per_s=1), name, at)
    forget(conn, NOW)
    for column in (session.c.digest, signup.c.id, reset.c.id):
        assert list(conn.execute(select(column)).scalars()) == ["kept"]
    assert list(conn.execute(select(bucket.c.key)).scalars()) == ["x:kept"]
