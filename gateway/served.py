"""A picture as it is served: its row, and its bytes from the store."""

import logging
from typing import TYPE_CHECKING

from gateway.jobs import queries
from gateway.jobs.records import ImageRow
from gateway.problems import Problem
from gateway.storage import StorageError

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["served_picture"]

log = logging.getLogger(__name__)


async def served_picture(core: "Core", image_id: str, account_id: str | None) -> tuple[ImageRow, bytes]:
    """An account's picture and its bytes; anybody's when the account is None: a link said so.

    Raises:
        Problem: `not_found`, `storage_unavailable`.
    """
    row = await core.db.read(lambda c: queries.find_image(c, image_id, account_id))
    try:
        data = await core.images.get(row.storage_key) if row is not None else None
    except StorageError as error:
        log.error("a picture cannot be served: %s", error)
        detail = "The store does not give the picture now; ask for it again later"
        raise Problem("storage_unavailable", detail, retryable=True) from error
    if row is None or data is None:
        raise Problem("not_found", f"No picture has the id {image_id!r}")
    return row, data
