"""The SQL of uploads and fetched inputs that are kept for a time alone, and never go while a job needs them.

Two meet here: a job that is let in with an upload, and the removal of that upload. Each takes the
upload's row first and then looks for the other, so that one of them sees what the other did.
"""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, select, update

from gateway.db.tables import job, media
from gateway.jobs.records import TERMINAL

__all__ = ["MediaGone", "hold_media", "old_media", "remove_media"]

KEY = re.compile(r'"key":"(media/[^"]+)"')
"""A reference's, as `providers.base.MediaRef` is written into a job's request."""
UPLOAD = re.compile(r"media/(upl_\w+)\.\w+")


class MediaGone(Exception):
    """An upload of a request has run out just now."""

    def __init__(self, media_id: str) -> None:
        super().__init__(f"the upload {media_id} has run out and was removed")
        self.media_id = media_id

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.media_id,)


def hold_media(conn: Connection, keys: Iterable[str]) -> None:
    """See that the uploads of a job that is let in are there, and keep them so until it is in.

    Args:
        conn: inside the transaction that lets it in.
        keys: of its references. What was fetched for it is too new to go.

    Raises:
        MediaGone: one is not.
    """
    ids = {found[1] for key in keys if (found := UPLOAD.fullmatch(key))}
    for media_id in sorted(ids):
        same = update(media).where(media.c.id == media_id).values(kind=media.c.kind)
        if conn.execute(same).rowcount != 1:
            raise MediaGone(media_id)


def old_media(conn: Connection, before: int, after: str, limit: int) -> tuple[list[str], str | None]:
    """Media that came before a time and that no job needs which has not ended.

    Args:
        conn: the connection.
        before: milliseconds UTC.
        after: ids above this one alone; empty: from the first.
        limit: rows that are looked at.

    Returns:
        Their ids, and the last that was looked at; None when no more is to be looked at.
    """
    query = select(media.c.id, media.c.storage_key).where(media.c.created_at < before, media.c.id > after)
    rows = conn.execute(query.order_by(media.c.id).limit(limit)).all()
    used = _in_use(conn, since=0) if rows else set()
    ids = [row.id for row in rows if row.storage_key not in used]
    return ids, rows[-1].id if len(rows) == limit else None


def remove_media(conn: Connection, ids: Sequence[str], since: int) -> list[str]:
    """Remove the rows of media that no job needs.

    Args:
        conn: inside a transaction.
        ids: of `old_media`.
        since: when that was asked, or before, in milliseconds UTC: jobs that were let in from then on
            are looked at again.

    Returns:
        The keys of their files, which have no row once this is committed.
    """
    taken = select(media.c.id, media.c.storage_key).where(media.c.id.in_(ids)).with_for_update()
    rows = conn.execute(taken).all()
    used = _in_use(conn, since)
    free = {row.id: row.storage_key for row in rows if row.storage_key not in used}
    conn.execute(delete(media).where(media.c.id.in_(free)))
    return list(free.values())


def _in_use(conn: Connection, since: int) -> set[str]:
    """The keys that jobs need which have not ended, and which were let in since."""
    query = select(job.c.request).where(job.c.status.not_in(TERMINAL), job.c.created_at >= since)
    with_media = query.where(job.c.request.contains('"key":"media/'))
    return {key for text in conn.execute(with_media).scalars() for key in KEY.findall(text)}
