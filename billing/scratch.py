"""The two sides of a comparison, in a file that goes with the connection: a million rows need no memory.

Plain sqlite3, and never the gateway's own database: that may be a PostgreSQL, and is only read.
"""

import sqlite3
from collections.abc import Callable

__all__ = ["BEHIND", "CLAIMED", "SUMMED", "SUMS", "UNBILLED", "UNKNOWN", "claim", "open_scratch"]

_BOOKED = """coalesce((select micros from booked where reference = o.attempt), 0)
    + coalesce((select micros from booked where reference = o.reference and o.claims), 0)"""

CLAIMED = f"""
with theirs as (
    select request, min(endpoint) as endpoint, max(at) as at, sum(micros) as micros, sum(units) as units,
        min(reference) as reference
    from line group by request)
select t.request, t.endpoint, t.at, t.micros, t.units, o.attempt, o.job, o.status, o.micros as our_micros,
    o.units as our_units,
    case when o.attempt is null then coalesce((select micros from booked where reference = t.reference), 0)
        else {_BOOKED} end as booked
from theirs as t left join ours as o on o.request = t.request and o.claims
where t.at is null or (t.at >= :start and t.at < :end)
order by t.at, t.request
"""  # noqa: S608 - of constants
"""Each request of theirs, with our attempt if there is one."""

UNBILLED = f"""
select * from (
    select o.attempt, o.job, o.endpoint, o.request, o.at, o.micros, o.units as our_units, {_BOOKED} as booked
    from ours as o
    where o.request is not null and o.at >= :start and o.at < :end
        and (not o.claims or not exists (select 1 from line where line.request = o.request)))
where coalesce(micros, 0) + booked <> 0
order by at, attempt
"""  # noqa: S608 - of constants
"""Our attempts that cost something, and are in nothing that they say."""

UNKNOWN = """
select attempt, job, endpoint, started from ours where status = 'unknown' and request is null order by started
"""
"""Our attempts of which nobody knows whether they were taken."""

SUMMED = f"""
insert into our_sum
select coalesce(:name, o.endpoint), i.start, sum(coalesce(o.micros, 0) + {_BOOKED}), count(*)
from interval as i join ours as o on o.at >= i.start and o.at < i.ending
group by 1, 2
"""  # noqa: S608 - of constants
"""Makes our sums of their intervals; with a name, all attempts are of that."""

SUMS = """
with theirs as (select name, start, sum(micros) as micros from billed_sum group by name, start),
    named as (select name, start from theirs union select name, start from our_sum)
select n.name, n.start, i.ending, t.micros, coalesce(o.micros, 0) as our_micros,
    coalesce(o.attempts, 0) as attempts,
    coalesce((select micros from booked where reference = sum_reference(n.name, n.start)), 0) as booked
from named as n join interval as i on i.start = n.start
left join theirs as t on t.name = n.name and t.start = n.start
left join our_sum as o on o.name = n.name and o.start = n.start
where i.start >= :start and i.ending <= :end
order by n.start, n.name
"""
"""Both sides' sums, of whole intervals within a time."""

BEHIND = """
select attempt from ours
where at >= :start and at < :end and (:name is not null or endpoint = :endpoint) and coalesce(micros, 0) > 0
order by abs(micros - coalesce(listed, micros)) desc, micros desc, attempt limit 3
"""
"""Attempts of a sum that explain a difference best: the furthest from our list, then the dearest."""


def open_scratch(sum_reference: Callable[[str, int], str]) -> sqlite3.Connection:
    """An empty one; its file is gone when it is closed.

    Args:
        sum_reference: the reference of corrections of a sum, by its name and its start.
    """
    made = sqlite3.connect("", isolation_level=None)
    made.row_factory = sqlite3.Row
    made.create_function("sum_reference", 2, sum_reference, deterministic=True)
    made.execute("pragma journal_mode = off")
    made.execute("pragma synchronous = off")
    made.executescript(
        """
        -- What the provider says. A row that is read twice is the same row.
        create table line (
            request text, endpoint text, at integer, micros integer, units integer, reference text);
        create unique index line_once on line (
            request, endpoint, coalesce(at, -1), coalesce(micros, -1e18), coalesce(units, -1e18));
        create table billed_sum (name text, start integer, micros integer, identity text,
            primary key (name, start, identity));
        create table interval (start integer primary key, ending integer);
        -- What we know. Of several attempts with one request, the first claims it.
        create table ours (
            attempt text primary key, job text, endpoint text, status text, request text, reference text,
            started integer, at integer, micros integer, listed integer, units integer, claims integer);
        create table booked (reference text primary key, micros integer);
        create table our_sum (
            name text, start integer, micros integer, attempts integer, primary key (name, start));
        """
    )
    made.execute("begin")
    return made


def claim(db: sqlite3.Connection) -> None:
    """Let each request have one attempt of ours: once, when both sides are there."""
    db.executescript(
        """
        create index ours_request on ours (request, attempt);
        create index ours_at on ours (at);
        update ours set claims = 0 where exists (
            select 1 from ours as earlier
            where earlier.request = ours.request and earlier.attempt < ours.attempt);
        """
    )
