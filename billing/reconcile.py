"""Compares what a provider says that it billed with what the books have, by attempt or in sums.

Knows no provider, and of no database but a scratch file: it takes rows of both sides and gives what differs.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Self

from billing.reconcile_rows import Attempt, Charge, Difference, Kind, Sum, Tolerance, Totals
from billing.recosts import request_reference, sum_reference
from billing.scratch import BEHIND, CLAIMED, SUMMED, SUMS, UNBILLED, UNKNOWN, claim, open_scratch

__all__ = ["Attempt", "Charge", "Comparison", "Difference", "Kind", "Sum", "Tolerance", "Totals"]

STEPS = (86_400_000, 3_600_000, 60_000)
"""What sums are made by: a day, an hour, a minute."""
UNITS = 1_000_000
EARLIEST_MS, LATEST_MS = -60_000, 86_400_000
"""How long after it was sent a request without an answer may be billed; clocks differ a little."""
UNDER_WAY = ("not_sent", "sent", "accepted")
WORDS: dict[Kind, str] = {
    "missing_here": "it is billed, and no attempt has this request: somebody else uses the account, or the "
    "attempt never learned its id",
    "missing_there": "it cost something here, and is not billed",
    "amount_differs": "another amount is billed than was known here",
    "units_differ": "the amount is the same, of other units",
    "failed_but_billed": "it failed here, and is billed",
}


class Comparison:
    """A comparison: add both sides, then ask for the differences, once. To be used in `with`.

    Args:
        provider: the registry's name of it.
        now: milliseconds UTC: sums of times that are not over are not compared.
        start: of what is asked about, in milliseconds UTC; None: from the first row of theirs on. What lies
            outside only keeps an attempt from being missing there.
        end: the first moment after it; None: to the last row of theirs.
        each: what may differ of an attempt; a micro-dollar if not given.
        sums: what may differ of a sum; 5 % if not given.
        name: of what all sums are of; None: each is of an endpoint.
        idles: what the provider bills holds more than attempts: that it bills more is no fault.
    """

    def __init__(
        self,
        provider: str,
        *,
        now: int,
        start: int | None = None,
        end: int | None = None,
        each: Tolerance | None = None,
        sums: Tolerance | None = None,
        name: str | None = None,
        idles: bool = False,
    ) -> None:
        self.totals = Totals()
        self._provider, self._now, self._start, self._end = provider, now, start, end
        self._each = each or Tolerance()
        self._within = sums or Tolerance(percent=Decimal(5))
        self._name, self._idles = name, idles
        self._db = open_scratch(lambda what, at: sum_reference(provider, what, at))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # -- what is compared -----------------------------------------------------------------

    def add_charges(self, charges: Iterable[Charge]) -> None:
        """Add requests of theirs."""

        def row(one: Charge) -> tuple[object, ...]:
            reference = request_reference(self._provider, one.request_id)
            return one.request_id, one.endpoint, one.at, one.micros, _scaled(one.units), reference

        self._add_theirs("insert or ignore into line values (?, ?, ?, ?, ?, ?)", map(row, charges))

    def add_sums(self, sums: Iterable[Sum]) -> None:
        """Add sums of theirs."""
        rows = ((one.name, one.start, one.micros, one.identity) for one in sums)
        self._add_theirs("insert or ignore into billed_sum values (?, ?, ?, ?)", rows)

    def _add_theirs(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        count = itertools.count()
        added = self._db.executemany(statement, (row for row, _ in zip(rows, count, strict=False))).rowcount
        self.totals.lines += added
        self.totals.repeated += next(count) - added

    def add_attempts(self, attempts: Iterable[Attempt]) -> None:
        """Add attempts of ours."""

        def row(one: Attempt) -> tuple[object, ...]:
            at = one.started_at if one.ended_at is None else one.ended_at
            reference = None if one.request_id is None else request_reference(self._provider, one.request_id)
            return (
                one.id, one.job_id, one.endpoint, one.status, one.request_id, reference, one.started_at, at,
                one.micros, one.listed_micros, _scaled(one.units),
            )  # fmt: skip

        statement = "insert into ours values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
        self._db.executemany(statement, map(row, attempts))

    def add_corrections(self, corrections: Iterable[tuple[str, int]]) -> None:
        """Add corrections that are in the books: the reference that each is about, and micro-dollars."""
        self._db.executemany(
            "insert into booked values (?, ?) on conflict do update set micros = micros + excluded.micros",
            corrections,
        )

    def span(self) -> tuple[int, int] | None:
        """The first and the last moment of theirs, and of what is asked about; None: there is nothing."""
        sums = self._sum_starts()
        found = [
            *self._one("select min(at), max(at) from line"),
            *([sums[0], sums[-1] + _step(sums)] if sums else []),
            self._start,
            self._end,
        ]
        known = [at for at in found if at is not None]
        return (min(known), max(known)) if known else None

    # -- what differs -----------------------------------------------------------------------

    def differences(self) -> Iterator[Difference]:
        """What differs: by request in the order of time, then what they do not have, then sums. `totals` is
        whole at its end.
        """
        self._db.commit()
        claim(self._db)
        for found in itertools.chain(self._by_request(), self._in_sums()):
            kinds = self.totals.kinds
            kinds[found.kind] = kinds.get(found.kind, 0) + 1
            self.totals.differ += found.counts
            yield found

    def _by_request(self) -> Iterator[Difference]:
        first, last, lines = self._one("select min(at), max(at), count(*) from line")
        if not lines:
            return
        start, end = self._start, self._end
        if start is None:
            start = -(1 << 62) if first is None else first
        if end is None:
            end = 1 << 62 if last is None else last + 1
        within = {"start": start, "end": end}
        unknown = _Unknown(self._db.execute(UNKNOWN).fetchall())
        for row in self._db.execute(CLAIMED, within):
            found = self._claimed(row) if row["attempt"] is not None else self._missing_here(row, unknown)
            if found is not None:
                yield found
        for row in self._db.execute(UNBILLED, within):
            ours = (row["micros"] or 0) + row["booked"]
            self.totals.ours_micros += ours
            self.totals.difference_micros -= ours
            if not self._each.covers(ours, 0):
                yield self._of_attempt("missing_there", row, ours, 0)

    def _claimed(self, row: sqlite3.Row) -> Difference | None:
        """A request of theirs that is an attempt's."""
        theirs = row["micros"]
        self.totals.attempts += 1
        if row["status"] in UNDER_WAY or theirs is None:
            self.totals.pending += row["status"] in UNDER_WAY
            self.totals.without_cost += theirs is None
            return None
        ours = (row["our_micros"] or 0) + row["booked"]
        self._count(ours, theirs)
        if not self._each.covers(ours, theirs):
            kind: Kind = "amount_differs" if row["status"] == "succeeded" else "failed_but_billed"
            return self._of_attempt(kind, row, ours, theirs)
        units = row["units"], row["our_units"]
        # What was corrected is settled, units and all.
        if None in units or units[0] == units[1] or row["booked"]:
            return None
        return self._of_attempt("units_differ", row, ours, theirs)

    def _of_attempt(self, kind: Kind, row: sqlite3.Row, ours: int, theirs: int) -> Difference:
        names = row.keys()
        return Difference(
            kind=kind,
            at=row["at"],
            endpoint=row["endpoint"],
            request_id=row["request"],
            attempt_id=row["attempt"],
            job_id=row["job"],
            ours_micros=ours,
            theirs_micros=theirs,
            difference_micros=theirs - ours,
            ours_units=_unscaled(row["our_units"]),
            theirs_units=_unscaled(row["units"]) if "units" in names else None,
            counts=kind != "units_differ",
            words=WORDS[kind],
            command=f"gateway jobs show {row['job']}",
            total_micros=theirs,
        )

    def _missing_here(self, row: sqlite3.Row, unknown: "_Unknown") -> Difference | None:
        """A request of theirs that no attempt has, unless one got no answer."""
        theirs, ours = row["micros"], row["booked"]
        attempt = unknown.sent_before(row["endpoint"], row["at"])
        self.totals.without_cost += theirs is None
        if theirs is not None:
            self._count(ours, theirs)
            if self._each.covers(ours, theirs):
                return None
        kind: Kind = "missing_here" if attempt is None else "unknown_attempt"
        command = None
        words = WORDS["missing_here"] if theirs is not None else "no attempt has this request"
        if attempt is not None:
            words = (
                f"an attempt that was sent {_apart(row['at'] - attempt['started'])} to the same endpoint "
                "got no answer: see at the provider that it is this one, then adopt it"
            )
            command = f"gateway jobs adopt {attempt['job']} --request-id {row['request']}"
        return Difference(
            kind=kind,
            at=row["at"],
            endpoint=row["endpoint"],
            request_id=row["request"],
            attempt_id=None if attempt is None else attempt["attempt"],
            job_id=None if attempt is None else attempt["job"],
            ours_micros=ours,
            theirs_micros=theirs,
            difference_micros=0 if theirs is None else theirs - ours,
            theirs_units=_unscaled(row["units"]),
            counts=theirs is not None,
            words=words,
            command=command,
            total_micros=theirs or 0,
        )

    def _in_sums(self) -> Iterator[Difference]:
        starts = self._sum_starts()
        if not starts:
            return
        step = _step(starts)
        start = starts[0] if self._start is None else self._start
        end = starts[-1] + step if self._end is None else self._end
        within = {"start": start, "end": min(end, self._now)}
        # Whole intervals, also those in which they billed nothing at all.
        first = starts[0] - max(0, starts[0] - start) // step * step
        every = range(first, max(end, starts[-1] + 1), step)
        self._db.executemany("insert into interval values (?, ?)", ((at, at + step) for at in every))
        self._db.execute(SUMMED, {"name": self._name})
        self.totals.unfinished += sum(at < start or at + step > within["end"] for at in starts)
        for row in self._db.execute(SUMS, within):
            theirs, ours = row["micros"] or 0, row["our_micros"] + row["booked"]
            self._count(ours, theirs)
            self.totals.attempts += row["attempts"]
            if not self._within.covers(ours, theirs):
                yield self._of_sum(row, ours, theirs)

    def _of_sum(self, row: sqlite3.Row, ours: int, theirs: int) -> Difference:
        overhead = self._idles and theirs > ours
        place = {"start": row["start"], "end": row["ending"], "name": self._name, "endpoint": row["name"]}
        behind = () if overhead else self._db.execute(BEHIND, place).fetchall()
        count = row["attempts"]
        return Difference(
            kind="overhead" if overhead else "sum_differs",
            at=row["start"],
            endpoint=row["name"],
            ours_micros=ours,
            theirs_micros=theirs,
            difference_micros=theirs - ours,
            attempts=tuple(one["attempt"] for one in behind),
            counts=not overhead,
            words=f"of {count} attempt{'' if count == 1 else 's'}"
            + (": containers that started or idled" if overhead else ""),
            total_micros=row["booked"] + theirs - ours,
        )

    # -- the scratch file ---------------------------------------------------------------------

    def _count(self, ours: int, theirs: int) -> None:
        self.totals.ours_micros += ours
        self.totals.theirs_micros += theirs
        self.totals.difference_micros += theirs - ours

    def _one(self, query: str, *values: object) -> tuple[int | None, ...]:
        return tuple(self._db.execute(query, values).fetchone())

    def _sum_starts(self) -> list[int]:
        return [row[0] for row in self._db.execute("select distinct start from billed_sum order by start")]


class _Unknown:
    """Attempts of which nobody knows whether they were taken; each is found for one request."""

    def __init__(self, rows: Iterable[sqlite3.Row]) -> None:
        self._by_endpoint: dict[str, list[sqlite3.Row]] = {}
        for row in rows:
            self._by_endpoint.setdefault(row["endpoint"], []).append(row)

    def sent_before(self, endpoint: str, at: int | None) -> sqlite3.Row | None:
        """The last one that was sent to an endpoint before something was billed there; it is taken out."""
        waiting = self._by_endpoint.get(endpoint, [])
        if at is None:
            return None
        ages = [(at - row["started"], place) for place, row in enumerate(waiting)]
        # Clocks differ: one that seems to be sent a little later will do where there is none before.
        near = [one for one in ages if 0 <= one[0] <= LATEST_MS] or [
            (-age, place) for age, place in ages if EARLIEST_MS <= age < 0
        ]
        return waiting.pop(min(near)[1]) if near else None


def _step(starts: list[int]) -> int:
    """Milliseconds from one sum to the next."""
    gaps = [start - starts[0] for start in starts[1:]] or [starts[0]]
    return next((step for step in STEPS if all(gap % step == 0 for gap in gaps)), STEPS[-1])


def _scaled(units: Decimal | None) -> int | None:
    """A count as a whole number of millionths."""
    return None if units is None else int((units * UNITS).to_integral_value())


def _unscaled(scaled: int | None) -> str | None:
    return None if scaled is None else f"{(Decimal(scaled) / UNITS).normalize():f}"


def _apart(ms: int) -> str:
    seconds = round(ms / 1000)
    return f"{seconds} s before" if seconds >= 0 else "at about that time"
