"""What is removed from the store: pictures and inputs whose days are over, files that nobody owns.

A row goes first and its file after it, so that no row is ever without its file; a file that is left over
by a crash between the two is an orphan, and goes a day later. Two gateways that clean one store
at once do each other no harm.
"""

import logging
from functools import partial

from msgspec import Struct

from gateway.ambient import DAY_MS, HOUR_MS, Ambient
from gateway.db.engine import Database
from gateway.jobs.expiry import expired_jobs, remove_pictures
from gateway.media.expiry import old_media, remove_media
from gateway.orphans import (
    FOLDERS,
    GRACE_MS,
    Folder,
    find_orphans,
    missing_files,
    remove_files,
)
from gateway.storage import ImageStore

__all__ = ["Cleaner", "Keep"]

log = logging.getLogger(__name__)

JOBS, ROWS = 100, 500
"""In one transaction."""
LOOKED_AT = 500
"""Rows of each kind whose files are looked for in one go."""


class Keep(Struct, frozen=True, kw_only=True):
    """For how many days what is kept; 0: for ever."""

    image_days: int = 0
    upload_days: int = 0


class Cleaner:
    """Cleans the store of one database.

    Args:
        db: has the rows.
        store: has the files.
        ambient: time.
        keep: for how long.
        alone: no other process writes to the store, so what was half written before this one began stays so.
    """

    def __init__(
        self, db: Database, store: ImageStore, ambient: Ambient, keep: Keep, *, alone: bool = False
    ) -> None:
        self._db = db
        self._store = store
        self._ambient = ambient
        self._keep = keep
        self._began: int | None = ambient.now_ms() if alone else None
        # Ids of pictures are in no order: what is looked at first is another with each start.
        self._looked: dict[Folder, str] = {"images": f"img_{ambient.seed():08x}", "media": ""}

    async def expire_pictures(self) -> bool:
        """Remove the pictures of jobs that ended so many days ago. True: nothing is left to do.

        Raises:
            DatabaseError, StorageError: one of the two is away.
        """
        days = self._keep.image_days
        if not days:
            return True
        before = self._ambient.now_ms() - days * DAY_MS
        removed = 0
        while jobs := await self._db.read(partial(expired_jobs, before=before, limit=JOBS)):
            keys = await self._db.write(partial(remove_pictures, job_ids=jobs, days=days))
            removed += len(keys)
            await remove_files(self._store, keys)
        if removed:
            log.info("%d pictures were removed, of jobs that ended %d days ago", removed, days)
        return True

    async def expire_media(self) -> bool:
        """Remove uploads and fetched inputs that came so many days ago. True: nothing is left to do.

        Raises:
            DatabaseError, StorageError: one of the two is away.
        """
        days = self._keep.upload_days
        if not days:
            return True
        now = self._ambient.now_ms()
        last: str | None = ""
        removed = 0
        while last is not None:
            ids, last = await self._db.read(
                partial(old_media, before=now - days * DAY_MS, after=last, limit=ROWS)
            )
            if ids:
                keys = await self._db.write(partial(remove_media, ids=ids, since=now - HOUR_MS))
                removed += len(keys)
                await remove_files(self._store, keys)
        if removed:
            log.info("%d uploads and fetched inputs were removed after %d days", removed, days)
        return True

    async def remove_orphans(self) -> bool:
        """Remove files that no row owns. False: there are more.

        Raises:
            DatabaseError, StorageError: one of the two is away.
        """
        now = self._ambient.now_ms()
        before = now - GRACE_MS if self._began is None else self._began
        swept = await self._store.sweep_unfinished(FOLDERS, before)
        if swept:
            log.info("%d files were removed that a process had left half written", swept)
        found = await find_orphans(self._store, self._db, now)
        if not found.plausible:
            log.error(
                "%d of %d files in the store have no row in the database, which is too many to be left from "
                "crashes: is it the store of another gateway, or is the database an old copy? Nothing was "
                "removed; `gateway doctor --json` lists them",
                len(found.keys),
                found.files,
            )
            return True
        await remove_files(self._store, found.keys)
        if found.keys:
            log.info("%d files were removed that no row owned", len(found.keys))
        return found.whole

    async def look_for_files(self) -> bool:
        """Look for the files of some rows, of others with each call, and say which have none.

        Raises:
            DatabaseError, StorageError: one of the two is away.
        """
        for folder in FOLDERS:
            after = self._looked[folder]
            missing, last = await missing_files(self._store, self._db, folder, after, LOOKED_AT)
            self._looked[folder] = last or ""
            for key in missing:
                log.error("%s has a row in the database and no file in the store", key)
        return True
