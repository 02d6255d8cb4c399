"""What a job costs in the database: CPU, jobs a second and milliseconds, in one run.

A job is its three real write transactions: admit (job, hold, attempt), accepted (the handle,
stored before the first poll) and settle (capture, image, job completed). Each variant runs the
same functions on a fresh, migrated file:

    group commit   gateway.db as it is
    commit each    gateway.db with batches of one
    session each   SQLAlchemy AsyncSession over aiosqlite, if that and greenlet are installed

Rounds alternate between the variants; the table has the medians. Run: python -m bench.job_cost
"""

import argparse
import asyncio
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from billing import ledger
from gateway.db.migrate import upgrade
from gateway.db.sqlite import SqliteDatabase
from gateway.db.tables import account, attempt, image, job

Fn = Callable[[Connection], Any]
Write = Callable[[Fn], Awaitable[Any]]
Figures = tuple[float, float, float]
Run = Callable[[Path, int, int], Coroutine[Any, Any, Figures]]

AT = 1_795_000_000_000
REQUEST = '{"inputs":{"prompt":"' + "a lighthouse above a stormy sea " * 8 + '","width":1024,"height":1024}}'
REPORT = (
    "[" + ",".join(['{"name":"width","requested":1024,"sentAs":"width","sent":1024,"how":"exact"}'] * 8) + "]"
)
HANDLE = '{"provider":"fal","remote_id":"' + "f" * 36 + '","extra":{"status_url":"' + "u" * 90 + '"}}'

_JOB_STATUS = update(job).where(job.c.id == bindparam("job")).values(status=bindparam("now"))
_COMPLETE = (
    update(job)
    .where(job.c.id == bindparam("job"))
    .values(status="completed", charge_micros=bindparam("charge"), completed_at=bindparam("at"))
)
_ACCEPTED = (
    update(attempt)
    .where(attempt.c.id == bindparam("attempt"))
    .values(status="accepted", handle=bindparam("to"))
)
_SUCCEEDED = (
    update(attempt)
    .where(attempt.c.id == bindparam("attempt"))
    .values(status="succeeded", run_seconds="2.5", ended_at=bindparam("at"))
)


def admit(job_id: str) -> Fn:
    """Transaction 1."""

    def fn(conn: Connection) -> None:
        conn.execute(
            insert(job),
            {
                "id": job_id,
                "account_id": "local",
                "status": "queued",
                "model": "flux-dev",
                "provider": "fal",
                "registry_version": "0123456789ab",
                "request": REQUEST,
                "report": REPORT,
                "warnings": "[]",
                "routing": "{}",
                "quote_micros": 30_000,
                "ceiling_micros": 30_000,
                "deadline_at": AT,
                "created_at": AT,
            },
        )
        ledger.place_hold(conn, job_id=job_id, account_id="local", amount_micros=30_000, at=AT)
        conn.execute(
            insert(attempt),
            {
                "id": f"{job_id}.1",
                "job_id": job_id,
                "number": 1,
                "route_index": 0,
                "provider": "fal",
                "endpoint": "fal-ai/flux/dev",
                "status": "sent",
                "started_at": AT,
            },
        )

    return fn


def accepted(job_id: str) -> Fn:
    """Transaction 2."""

    def fn(conn: Connection) -> None:
        conn.execute(_ACCEPTED, {"attempt": f"{job_id}.1", "to": HANDLE})
        conn.execute(_JOB_STATUS, {"job": job_id, "now": "running"})

    return fn


def settle(job_id: str) -> Fn:
    """Transaction 3."""

    def fn(conn: Connection) -> None:
        ledger.capture(conn, job_id=job_id, amount_micros=30_000, at=AT)
        conn.execute(
            insert(image),
            {
                "id": f"{job_id}.0",
                "job_id": job_id,
                "account_id": "local",
                "position": 0,
                "storage_key": f"images/{job_id}/0.png",
                "content_type": "image/png",
                "width": 1024,
                "height": 1024,
                "byte_size": 1_500_000,
                "sha256": "0" * 64,
                "seed": 7,
                "created_at": AT,
            },
        )
        conn.execute(_SUCCEEDED, {"attempt": f"{job_id}.1", "at": AT})
        conn.execute(_COMPLETE, {"job": job_id, "charge": 30_000, "at": AT})

    return fn


def prepare(conn: Connection) -> None:
    """The account that the jobs belong to."""
    conn.execute(insert(account), {"id": "local", "name": "local", "tier": "premium", "created_at": AT})
    ledger.open_wallet(conn, "local", postpaid=True)


async def lives(write: Write, jobs: int, in_flight: int) -> Figures:
    """CPU microseconds a job, jobs a second, median milliseconds of a job's three writes."""
    await write(prepare)
    numbers = iter(range(jobs))
    took: list[float] = []

    async def work() -> None:
        for number in numbers:
            job_id = f"job_{number:032d}"
            start = time.perf_counter()
            for fn in (admit(job_id), accepted(job_id), settle(job_id)):
                await write(fn)
            took.append(time.perf_counter() - start)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / jobs * 1e6, jobs / wall, statistics.median(took) * 1e3


async def ours(path: Path, max_batch: int, jobs: int, in_flight: int) -> Figures:
    """The gateway's own database."""
    database = SqliteDatabase(path, max_batch=max_batch)
    try:
        return await lives(database.write, jobs, in_flight)
    finally:
        await database.aclose()


async def session_each(path: Path, jobs: int, in_flight: int) -> Figures:
    """An AsyncSession for each transaction, one connection, as durable as ours."""
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0, pool_timeout=600)

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def write(fn: Fn) -> Any:
        async with AsyncSession(engine) as session, session.begin():
            return await session.run_sync(lambda s: fn(s.connection()))

    try:
        return await lives(write, jobs, in_flight)
    finally:
        await engine.dispose()


def variants() -> dict[str, Run]:
    """By name, what can run here."""
    found: dict[str, Run] = {
        "group commit": lambda path, jobs, n: ours(path, 256, jobs, n),
        "commit each": lambda path, jobs, n: ours(path, 1, jobs, n),
    }
    if importlib.util.find_spec("aiosqlite") and importlib.util.find_spec("greenlet"):
        found["session each"] = session_each
    else:
        print("session each: left out, aiosqlite or greenlet is not installed", file=sys.stderr)
    return found


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--folder", type=Path, help="where the files are made: the disk to measure")
    arguments = parser.parse_args()
    runs = variants()
    measured: dict[tuple[int, str], list[Figures]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for round_number in range(arguments.rounds + 1):
            for in_flight in arguments.in_flight:
                for name, run in runs.items():
                    path = Path(folder) / f"{round_number}-{in_flight}-{name.replace(' ', '-')}.db"
                    upgrade(f"sqlite:///{path}", at=AT)
                    figures = asyncio.run(run(path, arguments.jobs, in_flight))
                    if round_number:  # the first round warms up
                        measured.setdefault((in_flight, name), []).append(figures)
    print("| in flight | variant | CPU us/job | x | jobs/s | p50 ms/job |\n|---|---|---|---|---|---|")
    for (in_flight, name), rounds in measured.items():
        cpu, rate, milliseconds = (statistics.median(column) for column in zip(*rounds, strict=True))
        base = statistics.median(r[0] for r in measured[in_flight, "group commit"])
        print(f"| {in_flight} | {name} | {cpu:.0f} | {cpu / base:.2f} | {rate:.0f} | {milliseconds:.1f} |")


if __name__ == "__main__":
    main()
