"""The rows that jobs leave behind, by the million: what `gateway.jobs` and `billing` would have written.

They agree with each other as the product's do: `billing.ledger.verify` finds nothing in them.
"""

import random
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from billing.ledger import transfer
from billing.tables import COUNTS
from billing.usage import day_of
from gateway.core import Core
from gateway.jobs.outputs import image_id
from gateway.jobs.records import Admitted
from gateway.jobs.store import as_text
from gateway.schemas import GenerateRequest

ACCOUNTS, KEYS_EACH, USERS, MONTHS = 10, 3, 1_000, 12
MONTH_MS = 30 * 86_400_000
MODELS = (
    "flux-dev",
    "flux-schnell",
    "flux-pro",
    "flux-2-pro",
    "qwen-image",
    "nano-banana-pro",
    "seedream-4",
    "ideogram-v3",
)
CHUNK = 10_000
PAID_IN = 50_000_000_000
"""Micro-dollars that each account pays in each month."""

__all__ = ["ACCOUNTS", "Kind", "fill", "kinds_of"]

Rows = dict[str, list[dict[str, Any]]]


class Kind(NamedTuple):
    """What jobs of a model have in common."""

    model: str
    provider: str
    endpoint: str
    values: dict[str, Any]
    """Of the job's row."""
    width: int
    height: int


def kinds_of(core: Core) -> list[Kind]:
    """A request of each model, as the gateway plans and keeps it."""
    found = []
    for name in MODELS:
        inputs = {"prompt": "a lighthouse above a stormy sea, oil on canvas", "width": 1024, "height": 1024}
        plan = core.plan(GenerateRequest(model=name, inputs=inputs))
        first = plan.candidates[0]
        values = {
            "model": plan.model.id,
            "provider": first.route.provider,
            "registry_version": core.catalog.version,
            "request": as_text(Admitted(inputs=inputs, options={}, candidates=plan.candidates)),
            "report": as_text(plan.report),
            "warnings": as_text(plan.warnings),
            "routing": as_text(plan.routing),
            "quote_micros": plan.quote.price_micros,
            "ceiling_micros": plan.quote.ceiling_micros,
        }
        found.append(
            Kind(plan.model.id, first.route.provider, first.route.endpoint, values, first.width or 1024, 1024)
        )
    return found


class Maker:
    """Makes the rows of so many jobs, the same ones each time."""

    def __init__(self, kinds: Sequence[Kind], jobs: int, end: int) -> None:
        self._kinds, self._jobs, self._end = kinds, jobs, end
        self._random = random.Random(9)
        self._available = [0] * ACCOUNTS
        self._usage: dict[tuple[Any, ...], list[int]] = {}

    def chunks(self) -> Iterator[Rows]:
        """The accounts first, then the jobs by age, then what sums them up."""
        yield self._accounts()
        start = self._end - MONTHS * MONTH_MS
        for first in range(0, self._jobs, CHUNK):
            rows: Rows = {name: [] for name in ("job", "attempt", "image", "hold", "ledger_entry")}
            for number in range(first, min(first + CHUNK, self._jobs)):
                self._job(rows, number, start + (self._end - 60_000 - start) * number // self._jobs)
            yield rows
        yield self._sums()

    def _accounts(self) -> Rows:
        start = self._end - MONTHS * MONTH_MS - 86_400_000
        rows: Rows = {"account": [], "api_key": [], "ledger_entry": []}
        for number in range(ACCOUNTS):
            whose = f"acc_{number:032x}"
            rows["account"].append(
                {
                    "id": whose,
                    "name": f"Customer {number}",
                    "tier": "premium",
                    "created_at": start,
                    "admin": False,
                }
            )
            for key in range(KEYS_EACH):
                rows["api_key"].append(
                    {
                        "id": f"k{number:05d}{key:06d}",
                        "account_id": whose,
                        "name": f"key {key}",
                        "digest": "0" * 64,
                        "created_at": start,
                        "scopes": "generate read",
                    }
                )
            for month in range(MONTHS):
                at = start + month * MONTH_MS
                rows["ledger_entry"] += transfer(
                    f"pay-{number}-{month}", "topup", "funding", f"available:{whose}", PAID_IN, at
                )
                self._available[number] += PAID_IN
        return rows

    def _job(self, rows: Rows, number: int, at: int) -> None:
        draw = self._random
        kind = self._kinds[int(draw.random() ** 2 * len(self._kinds))]
        owner = int(draw.random() ** 2 * ACCOUNTS)
        whose, key = f"acc_{owner:032x}", f"k{owner:05d}{draw.randrange(KEYS_EACH):06d}"
        user = None if draw.random() < 0.2 else f"user-{draw.randrange(USERS)}@example.com"
        luck = draw.random()
        status = "completed" if luck < 0.93 else "failed" if luck < 0.98 else "canceled"
        job_id, attempt_id = f"job_{at:012x}{number:020x}", f"att_{at:012x}{number:020x}"
        ended = at + draw.randrange(2_000, 40_000)
        done = status == "completed"
        quote, ceiling = kind.values["quote_micros"], kind.values["ceiling_micros"]
        charge, cost = (quote, quote * 4 // 5) if done else (0, 0)
        rows["job"].append(
            {
                **kind.values,
                "id": job_id,
                "account_id": whose,
                "end_user": user,
                "status": status,
                "charge_micros": charge,
                "error_code": None if done else "provider_failed",
                "error_message": None if done else "The provider says that it failed",
                "deadline_at": at + 1_800_000,
                "created_at": at,
                "completed_at": ended,
                "key_id": key,
                "fence": 1,
                "cancel_requested": False,
            }
        )
        rows["attempt"].append(
            {
                "id": attempt_id,
                "job_id": job_id,
                "number": 1,
                "route_index": 0,
                "call_index": 0,
                "provider": kind.provider,
                "endpoint": kind.endpoint,
                "status": "succeeded" if done else "failed",
                "handle": as_text({"provider": kind.provider, "remote_id": job_id[4:], "extra": {}}),
                "provider_cost_micros": cost if done else None,
                "listed_cost_micros": cost if done else None,
                "run_seconds": "2.500" if done else None,
                "started_at": at,
                "ended_at": ended,
            }
        )
        self._money(
            rows, job_id, attempt_id, kind.provider, whose, ceiling, charge if done else None, at, ended
        )
        refund = charge if done and draw.random() < 0.001 else 0
        if done:
            picture = image_id(job_id, 0)
            rows["image"].append(
                {
                    "id": picture,
                    "job_id": job_id,
                    "account_id": whose,
                    "position": 0,
                    "storage_key": f"images/{picture}.png",
                    "content_type": "image/png",
                    "width": kind.width,
                    "height": kind.height,
                    "byte_size": 1_400_000,
                    "sha256": f"{number:064x}",
                    "seed": number,
                    "created_at": ended,
                }
            )
            rows["ledger_entry"] += transfer(
                attempt_id,
                "cost",
                f"payable:{kind.provider}",
                f"cost:{kind.provider}",
                cost,
                ended,
                job_id=job_id,
            )
        if refund:
            rows["ledger_entry"] += transfer(
                f"ref_{number:032x}", "refund", "revenue", f"available:{whose}", refund, ended,
                job_id=job_id, note="not what was asked for",
            )  # fmt: skip
        self._available[owner] += refund - charge
        counts = (1, done, status == "failed", status == "canceled", done, quote, charge, refund, cost, cost)
        for who in ((), (user,)) if user else ((),):
            place = (whose, day_of(ended), *who, kind.model, kind.provider, key)
            sums = self._usage.setdefault(place, [0] * len(COUNTS))
            for index, count in enumerate(counts):
                sums[index] += count

    def _money(
        self,
        rows: Rows,
        job_id: str,
        attempt_id: str,
        provider: str,
        whose: str,
        ceiling: int,
        charge: int | None,
        at: int,
        ended: int,
    ) -> None:
        available, held = f"available:{whose}", f"held:{whose}"
        entries = transfer(job_id, "hold", available, held, ceiling, at)
        if charge is not None:
            entries += transfer(job_id, "capture", held, "revenue", charge, ended)
        rest = ceiling - (charge or 0)
        if rest:
            entries += transfer(job_id, "release", held, available, rest, ended)
        rows["ledger_entry"] += entries
        rows["hold"].append(
            {
                "job_id": job_id,
                "account_id": whose,
                "amount_micros": ceiling,
                "status": "released" if charge is None else "captured",
                "captured_micros": charge,
                "created_at": at,
                "ended_at": ended,
            }
        )

    def _sums(self) -> Rows:
        rows: Rows = {"wallet": [], "usage_day": [], "usage_user": []}
        for number, available in enumerate(self._available):
            rows["wallet"].append(
                {
                    "account_id": f"acc_{number:032x}",
                    "postpaid": False,
                    "available_micros": available,
                    "held_micros": 0,
                }
            )
        for place, sums in self._usage.items():
            table = "usage_user" if len(place) == 6 else "usage_day"
            names = (
                "account_id",
                "day",
                *(("end_user",) if len(place) == 6 else ()),
                "model",
                "provider",
                "key_id",
            )
            rows[table].append(dict(zip((*names, *COUNTS), (*place, *map(int, sums)), strict=True)))
        return rows


def write_rows(driver: sqlite3.Connection | Any, rows: Rows) -> None:
    """Write a chunk, as quickly as the database takes it; to a connection of sqlite3's or of psycopg's."""
    for name, found in rows.items():
        # Some rows lack what is null.
        columns = list({column: None for row in found for column in row})
        values = ([row.get(column) for column in columns] for row in found)
        named = ", ".join(columns)
        if isinstance(driver, sqlite3.Connection):
            places = ", ".join("?" * len(columns))
            driver.executemany(f"insert into {name} ({named}) values ({places})", values)
        elif found:
            with driver.cursor() as cursor, cursor.copy(f"copy {name} ({named}) from stdin") as copy:
                for value in values:
                    copy.write_row(value)


def fill(driver: sqlite3.Connection | Any, kinds: Sequence[Kind], jobs: int, end: int) -> None:
    """Put so many jobs of the last twelve months into an empty database, and commit.

    Args:
        driver: as in `write_rows`.
        kinds: of the jobs.
        jobs: how many.
        end: milliseconds UTC.
    """
    for rows in Maker(kinds, jobs, end).chunks():
        write_rows(driver, rows)
        driver.commit()
