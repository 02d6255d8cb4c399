"""What has run out is forgotten, and nothing else."""

import pytest
from sqlalchemy import insert, select

from gateway import limits
from gateway.accounts import logins, rows
from gateway.accounts.logins import ResetRow, SessionRow, SignupRow
from gateway.db.tables import bucket, outbox, reset, session, signup
from gateway.db.tables import idempotency as keys
from gateway.delivery.outbox import FAILED_KEPT_MS, SENT_KEPT_MS
from gateway.housekeeping import AT_ONCE, DAY_MS, forget
from gateway.jobs import idempotency
from gateway.jobs.idempotency import Claim

NOW = 1_795_000_000_000
GONE, KEPT = NOW - DAY_MS - 1, NOW - DAY_MS + 1


pytestmark = pytest.mark.every_database


def claim(key: str, keep_ms: int) -> Claim:
    """One that holds for so long."""
    return Claim(
        account_id="a",
        key=key,
        given=True,
        request_sha256="x",
        job_id="j",
        answer_ms=0,
        keep_ms=keep_ms,
    )


def test_of_very_much_there_is_more(conn) -> None:
    rows.ensure_account(conn, account_id="a", name="A", postpaid=False, at=1)
    for number in range(AT_ONCE + 1):
        idempotency.take(conn, claim(str(number), 0), NOW)
    assert [forget(conn, NOW), forget(conn, NOW)] == [True, False]
    assert conn.execute(select(keys.c.key)).first() is None


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
        idempotency.take(conn, claim(name, at - GONE), NOW)
    assert not forget(conn, NOW)
    assert list(conn.execute(select(keys.c.key)).scalars()) == ["kept"]
    for column in (session.c.digest, signup.c.id, reset.c.id):
        assert list(conn.execute(select(column)).scalars()) == ["kept"]
    assert list(conn.execute(select(bucket.c.key)).scalars()) == ["x:kept"]


def test_what_was_delivered_or_given_up_is_forgotten_later(conn) -> None:
    for name, values in {
        "sent": {"sent_at": NOW - SENT_KEPT_MS - 1},
        "sent lately": {"sent_at": NOW - SENT_KEPT_MS},
        "failed": {"failed_at": NOW - FAILED_KEPT_MS - 1},
        "failed lately": {"failed_at": NOW - SENT_KEPT_MS - 1},
        "open": {},
    }.items():
        row = {
            "id": name,
            "kind": "email",
            "recipient": "a@b.org",
            "message": "{}",
            "created_at": 1,
            "due_at": 1,
        }
        conn.execute(insert(outbox).values(**row, **values))
    forget(conn, NOW)
    kept = set(conn.execute(select(outbox.c.id)).scalars())
    assert kept == {"sent lately", "failed lately", "open"}
