"""The store beside the database: files without a row, which are removed, and rows without a file,
which are told.

A file is written before its row, so one that is new may still get it. An old one without a row was
left by a process that was killed between the two, or by a removal that got as far as the row.
"""

import asyncio
import re
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Literal, TypeVar

from msgspec import Struct
from sqlalchemy import Connection, Table, select

from gateway.ambient import DAY_MS
from gateway.db.engine import Database
from gateway.db.tables import image, job, media
from gateway.jobs.outputs import image_id
from gateway.jobs.records import TERMINAL
from gateway.storage import ImageStore, StoredFile

__all__ = ["FOLDERS", "GRACE_MS", "Folder", "Orphans", "find_orphans", "missing_files", "remove_files"]

T = TypeVar("T")
Folder = Literal["images", "media"]
FOLDERS: tuple[Folder, ...] = ("images", "media")
"""What is ours in the store. Whatever else is there is never touched."""
TABLES: dict[Folder, Table] = {"images": image, "media": media}
OURS = re.compile(r"images/(img_[0-9a-f]{32})\.\w+|media/((?:upl|med)_[0-9a-f]{32})\.\w+")
"""The keys that we write. A file of another name in our folders is somebody else's."""

GRACE_MS = DAY_MS
MOST = 10_000
"""Orphans that are found in one go."""
FEW = 100
"""So many may be removed although they are most of what there is."""
PLACES = 64
"""Pictures that a job may have, and more."""
AT_ONCE = 8
PAUSE_S = 0.02
"""Between two pages: a listing must not be what the database is busy with."""


class Orphans(Struct, frozen=True, kw_only=True):
    """What a look at the store found."""

    files: int
    """Of ours that were looked at."""
    keys: tuple[str, ...]
    """Files that no row owns, older than the grace."""

    @property
    def whole(self) -> bool:
        """Whether everything was looked at."""
        return len(self.keys) < MOST

    @property
    def plausible(self) -> bool:
        """Whether it looks like what crashes leave, and not like the store of another database."""
        return len(self.keys) <= FEW or 2 * len(self.keys) <= self.files


async def find_orphans(store: ImageStore, db: Database, now: int) -> Orphans:
    """Files of ours without a row, older than a day by the store's own time; at most `MOST`.

    No later look finds a row for one of them: a job that has not ended may still write its pictures'
    files anew, and those are left out.

    Raises:
        StorageError, DatabaseError: one of the two is away.
    """
    files, keys = 0, list[str]()
    for folder in FOLDERS:
        async for page in store.pages(folder):
            files += len(page)
            old = _old(page, now - GRACE_MS)
            if old:
                keys += await db.read(partial(_without_row, folder=folder, ids=old))
            if len(keys) >= MOST:
                return Orphans(files=files, keys=tuple(keys[:MOST]))
            await asyncio.sleep(PAUSE_S)
    return Orphans(files=files, keys=tuple(keys))


def _old(page: Iterable[StoredFile], before: int) -> dict[str, str]:
    """The keys of ours that were written before, and the ids of the rows that they should have."""
    found = {file.key: OURS.fullmatch(file.key) for file in page if file.written_at < before}
    return {key: match[1] or match[2] for key, match in found.items() if match is not None}


def _without_row(conn: Connection, folder: Folder, ids: dict[str, str]) -> list[str]:
    # The jobs first: one that ends between the two questions has its rows by the second.
    under_way = select(job.c.id).where(job.c.status.not_in(TERMINAL))
    job_ids = conn.execute(under_way).scalars().all() if folder == "images" else ()
    table = TABLES[folder]
    rows = conn.execute(select(table.c.storage_key).where(table.c.id.in_(ids.values())))
    left = ids.keys() - set(rows.scalars())
    if not left:
        return []
    to_come = {image_id(job_id, place) for job_id in job_ids for place in range(PLACES)}
    return [key for key in left if ids[key] not in to_come]


async def remove_files(store: ImageStore, keys: Sequence[str]) -> None:
    """Remove files, a few at once. One that is gone already is no error.

    Raises:
        StorageError: the store refused or is away; some may be gone.
    """
    for start in range(0, len(keys), AT_ONCE):
        await _together([store.delete(key) for key in keys[start : start + AT_ONCE]])


async def missing_files(
    store: ImageStore, db: Database, folder: Folder, after: str, limit: int
) -> tuple[list[str], str | None]:
    """Rows whose file is gone, of a page of them.

    Args:
        store: has the files.
        db: has the rows.
        folder: of which.
        after: ids above this one alone; empty: from the first.
        limit: rows that are looked at.

    Returns:
        Their keys, and the last id that was looked at; None when no more is to be looked at.

    Raises:
        StorageError, DatabaseError: one of the two is away.
    """
    table = TABLES[folder]
    page = select(table.c.id, table.c.storage_key).where(table.c.id > after).order_by(table.c.id)
    rows = await db.read(lambda c: c.execute(page.limit(limit)).all())
    missing: dict[str, str] = {}
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        there = await _together([store.has(row.storage_key) for row in part])
        missing |= {row.id: row.storage_key for row, has in zip(part, there, strict=True) if not has}
    if missing:
        # What is removed loses its row before its file.
        still = select(table.c.storage_key).where(table.c.id.in_(missing))
        kept = await db.read(lambda c: set(c.execute(still).scalars()))
        missing = {found: key for found, key in missing.items() if key in kept}
    return list(missing.values()), rows[-1].id if len(rows) == limit else None


async def _together(calls: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """All of them, none left running when one fails."""
    ends = await asyncio.gather(*calls, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return [end for end in ends if not isinstance(end, BaseException)]
