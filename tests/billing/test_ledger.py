"""The ledger, through random lives of jobs and planted faults."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool
from support.databases import plain_engine
from support.postgres import PostgresServer

from billing.ledger import (
    AlreadyEnded,
    Balance,
    InsufficientFunds,
    LedgerError,
    UnknownHold,
    UnknownWallet,
    balance,
    capture,
    open_wallet,
    place_hold,
    release,
    top_up,
    verify,
)
from billing.tables import hold, ledger_entry, metadata

pytestmark = pytest.mark.every_database


@pytest.fixture(scope="session")
def sqlite_tables() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql_tables(postgres: PostgresServer) -> Iterator[Engine]:
    with postgres.database(migrated=False) as url:
        engine = plain_engine(url)
        metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def empty(request: pytest.FixtureRequest, database_kind: str) -> Iterator[Connection]:
    """Billing's tables alone, without the triggers that keep a fault from being planted."""
    engine: Engine = request.getfixturevalue(f"{database_kind}_tables")
    with engine.connect() as connection:
        # The driver of SQLite begins with the first change, and what came before stayed.
        connection.exec_driver_sql("savepoint begun" if database_kind == "sqlite" else "select 1")
        yield connection
        connection.rollback()


@pytest.fixture
def conn(empty: Connection) -> Connection:
    """Ann has paid 100 in; the operator pays later."""
    open_wallet(empty, "ann", postpaid=False)
    open_wallet(empty, "operator", postpaid=True)
    top_up(empty, account_id="ann", amount_micros=100, reference="pay1", at=1)
    return empty


def money(conn: Connection, account: str = "ann") -> tuple[int, int]:
    found = balance(conn, account)
    return found.available_micros, found.held_micros


def entries(conn: Connection, job: str) -> list[tuple[str, str, int]]:
    columns = (ledger_entry.c.id, ledger_entry.c.ledger_account, ledger_entry.c.amount_micros)
    return [tuple(row) for row in conn.execute(select(*columns).where(ledger_entry.c.reference == job))]


def test_a_hold_a_charge_and_the_rest(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="ann", amount_micros=60, at=2)
    assert money(conn) == (40, 60)
    capture(conn, job_id="j", amount_micros=25, at=3)
    assert money(conn) == (75, 0)
    assert sorted(entries(conn, "j")) == [
        ("j:capture:1", "held:ann", -25),
        ("j:capture:2", "revenue", 25),
        ("j:hold:1", "available:ann", -60),
        ("j:hold:2", "held:ann", 60),
        ("j:release:1", "held:ann", -35),
        ("j:release:2", "available:ann", 35),
    ]
    assert verify(conn) == []


def test_a_release_gives_all_back(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="ann", amount_micros=60, at=2)
    release(conn, job_id="j", at=3)
    assert money(conn) == (100, 0)
    assert verify(conn) == []


def test_a_job_that_costs_nothing_is_written_down(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="operator", amount_micros=0, at=2)
    capture(conn, job_id="j", amount_micros=0, at=3)
    assert [amount for _, _, amount in entries(conn, "j")] == [0, 0, 0, 0]
    assert verify(conn) == []


def test_a_prepaid_wallet_holds_what_it_has_and_no_more(conn: Connection) -> None:
    place_hold(conn, job_id="all", account_id="ann", amount_micros=100, at=2)
    with pytest.raises(InsufficientFunds) as caught:
        place_hold(conn, job_id="more", account_id="ann", amount_micros=1, at=2)
    assert (caught.value.available, caught.value.needed) == (0, 1)
    assert entries(conn, "more") == []
    assert verify(conn) == []


def test_a_postpaid_wallet_may_go_below_zero(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="operator", amount_micros=60, at=2)
    assert balance(conn, "operator") == Balance(available_micros=-60, held_micros=60, postpaid=True)
    assert verify(conn) == []


@pytest.mark.parametrize(("ended", "status", "captured"), [(True, "captured", 25), (False, "released", None)])
def test_a_hold_ends_once(conn: Connection, ended: bool, status: str, captured: int | None) -> None:
    def charge() -> None:
        capture(conn, job_id="j", amount_micros=25, at=3)

    def give_back() -> None:
        release(conn, job_id="j", at=3)

    place_hold(conn, job_id="j", account_id="ann", amount_micros=60, at=2)
    (charge if ended else give_back)()
    before = money(conn)
    for again in (charge, give_back):
        with pytest.raises(AlreadyEnded) as caught:
            again()
        assert (caught.value.status, caught.value.captured_micros) == (status, captured)
    assert money(conn) == before
    assert verify(conn) == []


def test_more_than_was_held_is_refused(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="ann", amount_micros=60, at=2)
    with pytest.raises(ValueError, match=r"0\.000061 USD on a hold of 0\.00006 USD"):
        capture(conn, job_id="j", amount_micros=61, at=3)
    assert money(conn) == (40, 60)
    assert verify(conn) == []


def test_what_was_never_there_is_named(conn: Connection) -> None:
    with pytest.raises(UnknownWallet):
        place_hold(conn, job_id="j", account_id="nobody", amount_micros=0, at=1)
    with pytest.raises(UnknownWallet):
        top_up(conn, account_id="nobody", amount_micros=1, reference="pay2", at=1)
    with pytest.raises(UnknownWallet):
        balance(conn, "nobody")
    for end in (
        lambda: capture(conn, job_id="j", amount_micros=0, at=1),
        lambda: release(conn, job_id="j", at=1),
    ):
        with pytest.raises(UnknownHold):
            end()


def test_negative_amounts_are_refused(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="ann", amount_micros=1, at=1)
    with pytest.raises(ValueError, match="negative"):
        place_hold(conn, job_id="k", account_id="ann", amount_micros=-1, at=1)
    with pytest.raises(ValueError, match="negative"):
        capture(conn, job_id="j", amount_micros=-1, at=1)
    with pytest.raises(ValueError, match="more than nothing"):
        top_up(conn, account_id="ann", amount_micros=0, reference="pay2", at=1)


def test_a_job_and_a_payment_count_once(conn: Connection) -> None:
    place_hold(conn, job_id="j", account_id="ann", amount_micros=1, at=1)
    with pytest.raises(IntegrityError), conn.begin_nested():
        place_hold(conn, job_id="j", account_id="ann", amount_micros=1, at=1)
    with pytest.raises(IntegrityError), conn.begin_nested():
        top_up(conn, account_id="ann", amount_micros=5, reference="pay1", at=1)


def test_a_wallet_is_opened_once(conn: Connection) -> None:
    open_wallet(conn, "ann", postpaid=True)
    assert balance(conn, "ann") == Balance(available_micros=100, held_micros=0, postpaid=False)


def test_the_longest_ids_fit(conn: Connection) -> None:
    account, job = "a" * 40, "j" * 40
    open_wallet(conn, account, postpaid=True)
    place_hold(conn, job_id=job, account_id=account, amount_micros=2, at=1)
    capture(conn, job_id=job, amount_micros=1, at=1)
    lengths = select(
        func.max(func.length(ledger_entry.c.id)), func.max(func.length(ledger_entry.c.ledger_account))
    )
    longest_id, longest_account = conn.execute(lengths).one()
    assert longest_id <= (ledger_entry.c.id.type.length or 0)
    assert longest_account <= (ledger_entry.c.ledger_account.type.length or 0)


@pytest.mark.parametrize("error", [InsufficientFunds(1, 2), AlreadyEnded("captured", 5)])
def test_errors_survive_pickling(error: LedgerError) -> None:
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


ACCOUNT = st.sampled_from(["prepaid1", "prepaid2", "postpaid"])
JOB = st.sampled_from([f"job{n}" for n in range(6)])
AMOUNT = st.integers(0, 50)
STEP = st.one_of(
    st.tuples(st.just("top_up"), ACCOUNT, AMOUNT),
    st.tuples(st.just("hold"), ACCOUNT, JOB, AMOUNT),
    st.tuples(st.just("capture"), JOB, AMOUNT),
    st.tuples(st.just("release"), JOB),
)


@contextmanager
def undone(conn: Connection) -> Iterator[Connection]:
    savepoint = conn.begin_nested()
    try:
        yield conn
    finally:
        savepoint.rollback()


def take(conn: Connection, number: int, step: tuple) -> None:
    match step:
        case ("top_up", account, amount):
            top_up(conn, account_id=account, amount_micros=amount, reference=f"pay{number}", at=number)
        case ("hold", account, job, amount):
            place_hold(conn, job_id=job, account_id=account, amount_micros=amount, at=number)
        case ("capture", job, amount):
            capture(conn, job_id=job, amount_micros=amount, at=number)
        case ("release", job):
            release(conn, job_id=job, at=number)


def test_any_sequence_adds_up(empty: Connection, database_kind: str) -> None:
    # Most of what can go wrong is arithmetic, the same on both; a server takes longer to say so.
    examples = 100 if database_kind == "sqlite" else 20

    @settings(max_examples=examples)
    @given(st.lists(STEP, max_size=30))
    def adds_up(steps: list[tuple]) -> None:
        with undone(empty) as conn:
            for account in ("prepaid1", "prepaid2", "postpaid"):
                open_wallet(conn, account, postpaid=account == "postpaid")
            for number, step in enumerate(steps):
                savepoint = conn.begin_nested()
                try:
                    take(conn, number, step)
                except (LedgerError, IntegrityError, ValueError):
                    savepoint.rollback()
                else:
                    savepoint.commit()
                assert verify(conn) == []
            check_sums(conn)

    adds_up()


def check_sums(conn: Connection) -> None:
    assert conn.scalar(select(func.sum(ledger_entry.c.amount_micros))) in (0, None)
    for account in ("prepaid1", "prepaid2"):
        assert balance(conn, account).available_micros >= 0
    still_open = select(func.coalesce(func.sum(hold.c.amount_micros), 0)).where(hold.c.status == "open")
    accounts = ("prepaid1", "prepaid2", "postpaid")
    assert sum(balance(conn, a).held_micros for a in accounts) == conn.scalar(still_open)


FAULTS = {
    "update wallet set available_micros = available_micros + 1": {"wallet_sum"},
    "update wallet set held_micros = held_micros + 1": {"wallet_sum"},
    "delete from wallet where account_id = 'ann'": {"orphan_account"},
    "delete from ledger_entry where id = 'done:capture:2'": {"ledger_sum", "transfer_sum"},
    "delete from ledger_entry where reference = 'done' and kind = 'capture'": {"hold_end", "wallet_sum"},
    "delete from ledger_entry where reference = 'open'": {"hold_end", "wallet_sum"},
    "update ledger_entry set amount_micros = amount_micros * 2 where reference = 'done' and kind = 'hold'": {
        "hold_end",
        "wallet_sum",
    },
    "update ledger_entry set ledger_account = 'held:operator' where id = 'open:hold:2'": {
        "hold_end",
        "wallet_sum",
    },
    "delete from hold where job_id = 'done'": {"orphan_entries"},
    "update hold set status = 'open', ended_at = null, captured_micros = null where job_id = 'done'": {
        "hold_end"
    },
    "update hold set status = 'released' where job_id = 'done'": {"hold_end"},
    "update hold set status = 'captured', captured_micros = null where job_id = 'back'": {"hold_end"},
    "update hold set status = 'lost' where job_id = 'open'": {"hold_end"},
    "update hold set ended_at = 1 where job_id = 'open'": {"hold_end"},
    "update hold set captured_micros = 24 where job_id = 'done'": {"hold_end"},
    "insert into ledger_entry select 'x' || id, reference, 'capture', ledger_account, amount_micros, 1, null, null"
    " from ledger_entry where reference = 'back' and kind = 'release'": {
        "entry_way",
        "hold_end",
        "wallet_sum",
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(conn: Connection, fault: str) -> None:
    for job, amount in (("open", 5), ("done", 60), ("back", 7)):
        place_hold(conn, job_id=job, account_id="ann", amount_micros=amount, at=2)
    capture(conn, job_id="done", amount_micros=25, at=3)
    release(conn, job_id="back", at=3)
    assert verify(conn) == []
    assert conn.exec_driver_sql(fault).rowcount > 0
    assert {finding.code for finding in verify(conn)} == FAULTS[fault]


def test_a_wallet_below_zero_is_found(empty: Connection, database_kind: str) -> None:
    open_wallet(empty, "ann", postpaid=True)
    place_hold(empty, job_id="j", account_id="ann", amount_micros=5, at=1)
    with unchecked(empty, database_kind):
        empty.exec_driver_sql("update wallet set postpaid = false")
        assert [finding.code for finding in verify(empty)] == ["wallet_negative"]


@contextmanager
def unchecked(conn: Connection, kind: str) -> Iterator[None]:
    """Without the check that keeps a prepaid wallet from going below zero."""
    if kind == "postgresql":
        conn.exec_driver_sql("alter table wallet drop constraint ck_wallet_available")
        yield
        return
    conn.exec_driver_sql("pragma ignore_check_constraints=on")
    try:
        yield
    finally:
        conn.exec_driver_sql("pragma ignore_check_constraints=off")
