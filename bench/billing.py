"""What reports, pages and admission cost at a million jobs, against their targets.

Fills an empty database with so many jobs of the last twelve months, as the product would have left them
(`bench.billing_rows`), and measures on it what the routes do: the query on a snapshot, and the JSON of its
answer. Admission is the real one in its write transaction, in turns with one on a database without a job.

    python -m bench.billing --jobs 1000000              SQLite; minutes to fill, 8 GB of disk
    python -m bench.billing --jobs 1000000 --postgresql PostgreSQL, with the server that the tests bring
"""

import argparse
import asyncio
import logging
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from bench.billing_rows import Kind, account_id, fill, key_id, kinds_of
from billing import ledger
from billing.budgets import Budget
from billing.movements import MovementFilter, list_movements
from billing.reports import Dimension, UsageFilter, date_of, usage_report
from billing.statements import statement
from billing.usage import DAY_MS
from gateway.accounts.budget_rows import put_budget
from gateway.ambient import Ambient
from gateway.billing_views import admin_usage_view, ledger_view, statement_view, usage_view
from gateway.core import Core
from gateway.db.engine import Database, open_database
from gateway.db.migrate import upgrade
from gateway.db.tables import job
from gateway.jobs import queries
from gateway.jobs.admit import NewJob, admit
from gateway.jobs.records import JobRow, NewAttempt
from gateway.observe.sums import past, sums
from gateway.schemas import JobList, as_json
from gateway.settings import load_settings
from gateway.views import job_view

ROOT = Path(__file__).parent.parent
ANN = account_id(0)
"""Of all accounts the one with the most jobs: a third of them."""
KEYS_BUDGET = Budget(kind="key", subject=key_id(0, 0), period="all", limit_micros=10**12)
PAGE = 20

Answer = Callable[[Connection], Any]


# -- what is measured: the query, and what becomes of its rows -----------------------------------


def usage(by: tuple[Dimension, ...], whose: str | None) -> Answer:
    """As `/api/billing/usage`, and the admin's."""

    def answer(conn: Connection) -> Any:
        found = usage_report(conn, by, UsageFilter(account_id=whose))
        return (admin_usage_view if whose is None else usage_view)(found, by, {})

    return answer


def page(only: MovementFilter | None = None) -> Answer:
    """As `/api/billing/ledger`."""
    return lambda conn: ledger_view(list_movements(conn, ANN, limit=PAGE + 1, only=only), None)


def month(name: str, at: int) -> Answer:
    """As `/api/billing/statements/{month}`."""

    def answer(conn: Connection) -> Any:
        found = statement(conn, ANN, name)
        return statement_view(found, ledger.balance(conn, ANN), (ANN, "Ann"), {}, at)

    return answer


def shown(found: JobRow) -> Any:
    return job_view(found, None, lambda image_id: f"/images/{image_id}")


def job_pages(ids: list[str]) -> Answer:
    """As `/api/jobs/{id}`, another job each time."""
    turns = iter(ids * 1000)

    def answer(conn: Connection) -> Any:
        found = queries.find_job(conn, next(turns), ANN)
        assert found is not None
        return shown(found)

    return answer


def job_list(conn: Connection) -> Any:
    """As `/api/jobs`."""
    found = queries.list_jobs(conn, ANN, limit=PAGE + 1)
    return JobList(jobs=tuple(map(shown, found)), next_cursor=None)


def scrape(at: int, *, whole: bool) -> Answer:
    """As `/metrics`: each time, or as it is once in five minutes, when days that are over are read too."""
    known: list[Any] = []

    def answer(conn: Connection) -> Any:
        if whole or not known:
            known[:] = [past(conn, at)]
        return sum(sums(conn, at, known[0]).jobs.values())

    return answer


async def milliseconds(db: Database, answer: Answer, times: int) -> tuple[float, float, float]:
    """The median, the slowest, and the median of CPU: what is left of it where others use the machine too."""
    took, cpu = [], []
    for _ in range(times):
        start, spent = time.perf_counter(), time.process_time()
        as_json(await db.read(answer))
        took.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.process_time() - spent) * 1e3)
    return statistics.median(took), max(took), statistics.median(cpu)


def new_job(kind: Kind, ambient: Ambient) -> NewJob:
    """A request of Ann's that is let in: with a key that has a budget, and a user."""
    plan, at = kind.plan, ambient.now_ms()
    return NewJob(
        id=ambient.new_id("job"),
        account_id=ANN,
        end_user="user-7@example.com",
        model=plan.model.id,
        registry_version=kind.values["registry_version"],
        admitted=kind.admitted,
        report=plan.report,
        warnings=plan.warnings,
        routing=plan.routing,
        quote_micros=plan.quote.price_micros,
        ceiling_micros=plan.quote.ceiling_micros,
        deadline_at=at + 1_800_000,
        attempt=NewAttempt(
            id=ambient.new_id("att"),
            number=1,
            candidate=0,
            call=0,
            provider=kind.provider,
            endpoint=kind.endpoint,
        ),
        owner="own_bench",
        key_id=key_id(0, 0),
        max_open=10**6,
    )


async def admission(full: Database, empty: Database, kind: Kind, rounds: int) -> tuple[float, float]:
    """Milliseconds of an admission to a full and to an empty database: medians of rounds in turns."""
    ambient = Ambient()
    for db in (full, empty):
        await db.write(lambda c: put_budget(c, ANN, KEYS_BUDGET, ambient.now_ms()))
    took: dict[int, list[float]] = {0: [], 1: []}
    for number in range(rounds + 1):
        for which, db in enumerate((full, empty)):
            for _ in range(40):
                new = new_job(kind, ambient)
                start = time.perf_counter()
                await db.write(lambda c, new=new: admit(c, new, ambient.now_ms()))
                if number:  # the first round warms up
                    took[which].append((time.perf_counter() - start) * 1e3)
    return statistics.median(took[0]), statistics.median(took[1])


# -- the databases --------------------------------------------------------------------------------


async def plans() -> list[Kind]:
    """What the jobs are."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"GATEWAY_DATA_DIR": folder, "FAL_KEY": "not-called"})
        core = await Core.open(settings, run_jobs=False)
        try:
            return kinds_of(core)
        finally:
            await core.aclose()


@contextmanager
def sqlite_urls(folder: Path | None, jobs: int) -> Iterator[tuple[str, str]]:
    """Two databases in files: in a folder of somebody's to be used again, else empty ones."""
    with tempfile.TemporaryDirectory() as made:
        where = folder or Path(made)
        where.mkdir(parents=True, exist_ok=True)
        yield f"sqlite:///{where}/with-{jobs}-jobs.db", f"sqlite:///{made}/empty.db"


@contextmanager
def postgresql_urls() -> Iterator[tuple[str, str]]:
    """Two empty databases of the server that the tests bring."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.postgres import running_postgres

    with running_postgres() as server, ExitStack() as stack:
        full, empty = (stack.enter_context(server.database(migrated=False)) for _ in range(2))
        yield full, empty


def fill_database(url: str, kinds: list[Kind], jobs: int, end: int) -> None:
    """Make the schema and fill it, unless that was done."""
    upgrade(url, at=end)
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            if file.execute("select count(*) from account").fetchone()[0]:
                return
            file.execute("pragma synchronous=off")
            file.execute("pragma cache_size=-500000")
            fill(file, kinds, jobs, end)
            file.execute("pragma wal_checkpoint(truncate)")
        return
    import psycopg

    with psycopg.connect(url) as server:
        fill(server, kinds, jobs, end)
        server.autocommit = True
        server.execute("vacuum analyze")  # as its own daemon does, which the tests' server is without


async def measure(name: str, urls: tuple[str, str], kinds: list[Kind], arguments: argparse.Namespace) -> None:
    """Fill the databases, measure, print the rows."""
    end, start = Ambient().now_ms(), time.perf_counter()
    for url, jobs in zip(urls, (arguments.jobs, 0), strict=True):
        await asyncio.to_thread(fill_database, url, kinds, jobs, end)
    print(f"{name}: {arguments.jobs} jobs in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    full, empty = open_database(urls[0]), open_database(urls[1])
    try:
        mine = select(job.c.id).where(job.c.account_id == ANN).order_by(job.c.created_at).limit(1000)
        ids = await full.read(lambda c: list(c.scalars(mine)))
        last = date_of(end // DAY_MS - 31)[:7]
        reads: dict[str, tuple[Answer, int | None]] = {
            "usage by day and model, of an account": (usage(("day", "model"), ANN), 200),
            "usage by day and model, of all accounts": (usage(("day", "model"), None), 200),
            "usage by month and key, of all accounts": (usage(("month", "key"), None), None),
            "usage by user, of an account": (usage(("user",), ANN), None),
            "a job's page": (job_pages(ids), 20),
            "a page of jobs": (job_list, None),
            "a page of the ledger": (page(), None),
            "the ledger's refunds": (page(MovementFilter(kinds=("refund",))), None),
            "a month's statement": (month(last, end), None),
            "the figures of /metrics": (scrape(end, whole=False), 100),
            "the figures of /metrics, days that are over too": (scrape(end, whole=True), None),
        }
        for what, (answer, target) in reads.items():
            median, slowest, cpu = await milliseconds(full, answer, arguments.times)
            said = "" if target is None else f"< {target} ms"
            print(f"| {name} | {what} | {said} | {median:.1f} ms | {slowest:.1f} ms | {cpu:.1f} ms |")
        with_jobs, without = await admission(full, empty, kinds[0], arguments.rounds)
        what = f"admission ({without:.2f} ms with no job in the database)"
        print(f"| {name} | {what} | <= 1.5x | {with_jobs:.2f} ms, {with_jobs / without:.2f}x | | |")
        if arguments.verify:
            start = time.perf_counter()
            findings = await full.read(ledger.verify)
            took = time.perf_counter() - start
            print(f"| {name} | the ledger verified: {len(findings)} findings | | {took * 1e3:.0f} ms | | |")
    finally:
        await full.aclose()
        await empty.aclose()


def main() -> None:
    """Measure on each kind of database that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=15, help="each read")
    parser.add_argument("--rounds", type=int, default=10, help="of 40 admissions to each database")
    parser.add_argument("--folder", type=Path, help="where the SQLite file is kept, and found again")
    parser.add_argument("--postgresql", action="store_true", help="PostgreSQL, and not SQLite")
    parser.add_argument("--verify", action="store_true", help="verify the ledger as well")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    kinds = asyncio.run(plans())
    print("| database | what | target | median | slowest | CPU |\n|---|---|---|---|---|---|")
    name = "PostgreSQL" if arguments.postgresql else "SQLite"
    with postgresql_urls() if arguments.postgresql else sqlite_urls(arguments.folder, arguments.jobs) as urls:
        asyncio.run(measure(name, urls, kinds, arguments))


if __name__ == "__main__":
    main()
