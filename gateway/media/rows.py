"""The SQL of media: plain functions that take a connection. Every read filters by account."""

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select

from gateway.db.tables import media
from gateway.media.decode import Kind

__all__ = ["MediaRow", "find_media", "insert_media"]


class MediaRow(Struct, frozen=True, kw_only=True):
    """A row of `media`: a picture or weights of an account, checked, in our store."""

    id: str
    account_id: str
    kind: Kind
    sha256: str
    """Of what is in the store, which is not what came: pictures are written anew."""
    content_type: str
    byte_size: int
    width: int | None
    """Pixels; None for weights."""
    height: int | None
    storage_key: str
    created_at: int


def insert_media(conn: Connection, row: MediaRow) -> None:
    """Keep a row."""
    conn.execute(insert(media).values(**msgspec.structs.asdict(row)))


def find_media(conn: Connection, media_id: str, account_id: str) -> MediaRow | None:
    """An account's media; None when it is not there, or another's."""
    query = select(media).where(media.c.id == media_id, media.c.account_id == account_id)
    row = conn.execute(query).mappings().first()
    return MediaRow(**{name: row[name] for name in MediaRow.__struct_fields__}) if row is not None else None
