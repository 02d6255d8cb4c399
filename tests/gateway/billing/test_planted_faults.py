"""A fault of each kind is planted in good books: `verify` finds it, and says which row."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection
from support.databases import connected, copy_of
from support.paid_jobs import NOON, open_accounts, paid_job, share_of
from support.postgres import PostgresServer

from billing import budgets, corrections, ledger
from billing.budgets import Budget
from billing.findings import MOST
from billing.usage import DAY_MS
from gateway import books
from gateway.jobs import admit, audit, refunds, store
from providers.errors import ProviderFailed

pytestmark = pytest.mark.every_database

DAY, LATER = NOON // DAY_MS, NOON + DAY_MS
"""Jobs end on the first, refunds are given on the second: the next day, in the next month."""


@pytest.fixture(scope="module")
def sqlite_books(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    url = copy_of(migrated_file, tmp_path_factory.mktemp("books") / "gateway.db")
    with connected(url) as conn:
        conn.exec_driver_sql("begin")
        make_books(conn)
        with unguarded_sqlite(conn):
            yield conn


@pytest.fixture(scope="module")
def postgresql_books(postgres: PostgresServer) -> Iterator[Connection]:
    with postgres.database() as url, connected(url) as conn:
        make_books(conn)
        unguard_postgresql(conn)
        yield conn


@pytest.fixture
def conn(request: pytest.FixtureRequest, database_kind: str) -> Iterator[Connection]:
    """Good books, in which faults can be planted: nothing but `verify` is left to notice. Then it is undone."""
    good: Connection = request.getfixturevalue(f"{database_kind}_books")
    with undone(good):
        yield good


@contextmanager
def undone(conn: Connection) -> Iterator[None]:
    savepoint = conn.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()


def make_books(conn: Connection) -> None:
    """Money of three accounts, a charge that was given back in part, a failure, a job under way."""
    open_accounts(conn)
    for account in ("ann", "bob"):
        ledger.top_up(conn, account_id=account, amount_micros=1000, reference=f"pay {account}", at=NOON)
    about = {"account_id": "ann", "at": NOON}
    corrections.promote(conn, amount_micros=50, reference="gift", **about)
    corrections.pay_out(conn, amount_micros=20, reference="back", **about)
    corrections.adjust(conn, amount_micros=-3, reference="less", note="typo", **about)
    for name, subject, period in (("account", "", "month"), ("key", "annkey", "month"), ("user", "*", "all")):
        new = Budget(kind=name, subject=subject, period=period, limit_micros=500)
        budgets.set_budget(conn, "ann", new, {}, NOON)
    for number, (account, key, user) in enumerate(
        [("ann", "annkey", "eve"), ("ann", "anncap", None), ("bob", None, "eve"), ("op", "opkey", None)], 1
    ):
        admit.admit(conn, paid_job(number, account, 60, key=key, user=user), NOON)
    end(conn, 1, pictures=2, charge=40, cost=7)
    end(conn, 4, pictures=1, charge=0, cost=0)
    error = ProviderFailed("no")
    store.end_without_images(conn, "job2", [("att2.1", error)], error, NOON)
    refunds.refund(conn, job_id="job1", amount_micros=10, reference="sorry", at=LATER)


def end(conn: Connection, number: int, *, pictures: int, charge: int, cost: int) -> None:
    share = share_of(f"job{number}", f"att{number}.1", range(pictures), cost)
    assert store.complete(conn, f"job{number}", [share], charge, NOON)


@contextmanager
def unguarded_sqlite(conn: Connection) -> Iterator[None]:
    """Without triggers, foreign keys and checks."""
    for change in ("update", "delete"):
        conn.exec_driver_sql(f"drop trigger ledger_entry_no_{change}")
    conn.exec_driver_sql("pragma defer_foreign_keys=on")
    conn.exec_driver_sql("pragma ignore_check_constraints=on")
    yield
    conn.exec_driver_sql("pragma ignore_check_constraints=off")


def unguard_postgresql(conn: Connection) -> None:
    """Without triggers, foreign keys and checks, until its transaction ends."""
    conn.exec_driver_sql("set local session_replication_role = replica")
    for table, check in (("wallet", "available"), ("wallet", "held"), ("hold", "captured")):
        conn.exec_driver_sql(f"alter table {table} drop constraint ck_{table}_{check}")


def found(conn: Connection) -> list[tuple[str, str]]:
    """What is wrong on the second day."""
    findings = [*books.verify(conn, LATER), *audit.untold(conn, 0)]
    assert all(finding.detail for finding in findings)
    return [(finding.code, finding.subject) for finding in findings]


ENTRY = (
    "insert into ledger_entry (id, reference, kind, ledger_account, amount_micros, created_at, job_id, note)"
)
FIRST = f"ann {DAY} solo first annkey"
"""The day of the job that was charged."""

# code, the row that it is found by, what is done
FAULTS = [
    ("ledger_sum", "ledger", "update ledger_entry set amount_micros = 999 where id = 'pay ann:topup:2'"),
    ("transfer_sum", "pay ann", "update ledger_entry set amount_micros = 999 where id = 'pay ann:topup:2'"),
    ("transfer_sum", "job4", "delete from ledger_entry where id = 'job4:capture:2'"),
    ("transfer_sum", "gift", "delete from ledger_entry where id = 'gift:promotion:1'"),
    ("transfer_sum", "job1", f"{ENTRY} values ('x', 'job1', 'hold', 'revenue', 0, 1, null, null)"),
    ("entry_way", "gift:promotion:1", "update ledger_entry set ledger_account = 'funding' where id = 'gift:promotion:1'"),
    ("entry_way", "back:payout:1", "update ledger_entry set amount_micros = -amount_micros where reference = 'back'"),
    ("entry_way", "less:adjustment:1", "update ledger_entry set note = null where reference = 'less'"),
    ("entry_way", "sorry:refund:1", "update ledger_entry set job_id = null where reference = 'sorry'"),
    ("entry_way", "gift:promotion:2", "update ledger_entry set job_id = 'job1' where reference = 'gift'"),
    ("entry_way", "gift:promotion:1", "update ledger_entry set kind = 'gift' where reference = 'gift'"),
    ("hold_end", "job1", "update hold set captured_micros = 39 where job_id = 'job1'"),
    ("hold_end", "job2", "update hold set status = 'open', ended_at = null where job_id = 'job2'"),
    ("hold_end", "job3", "delete from ledger_entry where reference = 'job3'"),
    ("hold_end", "job1", "delete from ledger_entry where id like 'job1:release:%%'"),
    ("orphan_entries", "job2", "delete from hold where job_id = 'job2'"),
    ("refund_excess", "job1", "update ledger_entry set amount_micros = 5 * amount_micros where reference = 'sorry'"),
    ("refund_excess", "job3", "update ledger_entry set job_id = 'job3' where reference = 'sorry'"),
    ("refund_account", "sorry", "update ledger_entry set ledger_account = 'available:bob' where id = 'sorry:refund:2'"),
    ("wallet_sum", "ann", "update wallet set available_micros = available_micros + 1 where account_id = 'ann'"),
    ("wallet_sum", "bob", "update wallet set held_micros = held_micros - 1 where account_id = 'bob'"),
    ("wallet_sum", "ann", "delete from ledger_entry where reference = 'gift'"),
    ("wallet_negative", "op", "update wallet set postpaid = false, available_micros = -1 where account_id = 'op'"),
    ("wallet_negative", "bob", "update wallet set held_micros = -1 where account_id = 'bob'"),
    ("orphan_account", "available:bob", "delete from wallet where account_id = 'bob'"),
    ("orphan_account", "held:bob", "delete from wallet where account_id = 'bob'"),
    ("usage_charge", f"ann {DAY}", "update usage_day set charge_micros = 41 where account_id = 'ann'"),
    ("usage_charge", f"ann {DAY}", "update ledger_entry set created_at = 1 where id = 'job1:capture:1'"),
    ("usage_refund", f"ann {DAY + 1}", "update usage_day set refund_micros = 0"),
    ("usage_refund", f"ann {DAY + 1}", "delete from ledger_entry where reference = 'sorry'"),
    ("usage_of_users", FIRST, "update usage_user set jobs = 2 where day = (select min(day) from usage_user)"),
    ("usage_of_users", FIRST, "delete from usage_day where account_id = 'ann'"),
    ("usage_day", FIRST, "update usage_day set jobs = 2 where key_id = 'annkey'"),
    ("usage_day", FIRST, "update usage_day set cost_micros = 8 where key_id = 'annkey'"),
    ("usage_day", FIRST, "update usage_day set listed_micros = 8 where key_id = 'annkey'"),
    ("usage_day", FIRST, "update usage_day set images = 1 where key_id = 'annkey'"),
    ("usage_day", FIRST, "delete from image where id = 'img_job1.1'"),
    ("usage_day", FIRST, "update attempt set provider_cost_micros = 6 where id = 'att1.1'"),
    ("usage_day", f"ann {DAY} solo first anncap", "delete from usage_day where key_id = 'anncap'"),
    ("usage_day", f"op {DAY} solo first opkey", "update job set model = 'two' where id = 'job4'"),
    ("usage_day", f"op {DAY} two first opkey", "update job set model = 'two' where id = 'job4'"),
    ("usage_day", f"bob {DAY} solo first -", "update job set status = 'failed', completed_at = created_at where id = 'job3'"),
    ("usage_user", f"ann {DAY} eve solo first annkey", "update usage_user set charge_micros = 39 where charge_micros = 40"),
    ("usage_user", f"ann {DAY + 1} eve solo first annkey", "delete from usage_user where refund_micros > 0"),
    ("job_hold", "job1", "update job set charge_micros = 39 where id = 'job1'"),
    ("job_hold", "job2", "update job set status = 'running', completed_at = null, charge_micros = null where id = 'job2'"),
    ("job_hold", "job3", "delete from hold where job_id = 'job3'"),
    ("hold_without_job", "job2", "delete from job where id = 'job2'"),
    ("entries_without_job", "job1", "delete from job where id = 'job1'"),
    ("job_without_attempt", "job3", "delete from attempt where job_id = 'job3'"),
    ("attempt_open", "att1.1", "update attempt set status = 'accepted' where id = 'att1.1'"),
    ("completed_without_picture", "job4", "delete from image where job_id = 'job4'"),
    ("picture_not_charged", "job2", "update image set job_id = 'job2' where id = 'img_job1.1'"),
    ("attempt_cost", "att1.1", "update attempt set provider_cost_micros = 6 where id = 'att1.1'"),
    ("attempt_cost", "att1.1", "delete from ledger_entry where kind = 'cost'"),
    ("attempt_cost", "att1.1", "update attempt set status = 'failed' where id = 'att1.1'"),
    ("attempt_cost", "att1.1", "update ledger_entry set job_id = 'job4' where kind = 'cost'"),
    ("attempt_cost", "att1.1", "update ledger_entry set ledger_account = 'cost:second' where id = 'att1.1:cost:2'"),
    ("cost_without_attempt", "att1.1", "delete from attempt where id = 'att1.1'"),
    ("spend", "ann account - 2026-11", "update spend set used_micros = 39 where kind = 'account'"),
    ("spend", "ann key annkey 2026-11", "update spend set used_micros = 60 where subject = 'annkey'"),
    ("spend", "ann user eve all", "update job set charge_micros = 41 where id = 'job1'"),
    ("spend", "ann key anncap all", "update spend set used_micros = -1 where subject = 'anncap'"),
    ("spend", "ann account - 2026-xx", "update spend set period = '2026-xx' where kind = 'account'"),
    ("spend_missing", "ann user eve all", "delete from spend where kind = 'user'"),
    ("spend_missing", "ann key annkey 2026-12", "update job set created_at = completed_at + 86400000 where id = 'job1'"),
    ("end_not_told", "job1", "update job set delivery = '{}' where id = 'job1'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "subject", "harm"), FAULTS, ids=[f"{code} {n}" for n, (code, *_) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found_by_its_row(conn: Connection, code: str, subject: str, harm: str) -> None:
    assert conn.exec_driver_sql(harm).rowcount > 0
    assert (code, subject) in found(conn)


def test_every_kind_of_fault_is_planted() -> None:
    kinds = {check.code for check in books.CHECKS}
    assert len(kinds) == len(books.CHECKS)
    assert {code for code, *_ in FAULTS} == kinds | {"end_not_told"}


def test_what_is_wrong_everywhere_is_told_of_some(conn: Connection) -> None:
    columns = "select 'x' || n, 'x' || n, 'topup', 'revenue', 1, 1, null, null from numbers"
    numbers = (
        f"with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {MOST + 5})"
    )
    conn.exec_driver_sql(f"{ENTRY} {numbers} {columns}".replace("'x' || n", "'x' || cast(n as text)"))
    codes = [code for code, _ in found(conn)]
    assert codes.count("transfer_sum") == MOST
    assert codes.count("ledger_sum") == 1


def test_the_books_were_good(conn: Connection) -> None:
    assert found(conn) == []
