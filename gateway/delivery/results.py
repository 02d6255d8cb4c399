"""The mail that tells of a job's end, with its pictures in it."""

import asyncio
from email.message import EmailMessage
from typing import Any

from msgspec import Struct

from billing.money import usd
from gateway.db.engine import Database
from gateway.delivery.outbox import Item
from gateway.jobs import queries
from gateway.jobs.records import ImageRow, JobRow
from gateway.links import Links
from gateway.mail.letters import Letters
from gateway.storage import ImageStore
from gateway.verify import extension_of
from gateway.verify_svg import SVG

__all__ = ["INLINE_BYTES", "LINK_DAYS", "JobGone", "ResultMails"]

INLINE_BYTES = 5_000_000
"""Of pictures in one mail; what is more is a link. Base64 makes a third more of it, and many servers take
10 MB.
"""
LINK_DAYS = 7
PROMPT = 200
"""Characters of the prompt that are told."""


class JobGone(Exception):
    """The job is no more."""


class _Picture(Struct, frozen=True, kw_only=True):
    """A picture of a mail."""

    row: ImageRow
    link: str
    data: bytes | None
    """None: it is not in the mail."""


class ResultMails:
    """Writes them.

    Args:
        db: has the jobs.
        images: has their pictures.
        links: makes links to them.
        letters: makes messages of templates.
        inline_bytes: of pictures that one may hold.
    """

    def __init__(
        self,
        db: Database,
        images: ImageStore,
        links: Links,
        letters: Letters,
        inline_bytes: int = INLINE_BYTES,
    ) -> None:
        self._db = db
        self._images = images
        self._links = links
        self._letters = letters
        self._inline_bytes = inline_bytes

    async def write(self, item: Item, job_id: str, *, inline: bool = True) -> EmailMessage:
        """The mail of a job's end.

        Args:
            item: the outbox's row.
            job_id: the job that it tells of.
            inline: whether it may hold pictures.

        Raises:
            JobGone: there is nothing to tell of.
            StorageError: its pictures cannot be read now.
        """
        job = await self._db.read(lambda c: queries.find_job(c, job_id))
        if job is None:
            raise JobGone(f"{job_id} is no more")
        if job.status != "completed":
            return self._unfinished(item, job)
        pictures = await self._pictures(job, self._inline_bytes if inline else 0)
        # Megabytes are encoded: not in the loop that answers requests.
        return await asyncio.to_thread(self._result, item, job, pictures)

    async def _pictures(self, job: JobRow, left: int) -> list[_Picture]:
        """The job's pictures; those with their bytes that fit into what is left of a mail."""
        pictures = []
        for row in job.images:
            data = None
            if row.content_type != SVG and row.byte_size <= left:
                data = await self._images.get(row.storage_key)
                left -= row.byte_size
            link = self._links.signed(row.id, LINK_DAYS * 86_400)
            pictures.append(_Picture(row=row, link=link, data=data))
        return pictures

    def _result(self, item: Item, job: JobRow, pictures: list[_Picture]) -> EmailMessage:
        count = len(pictures)
        subject = "Your picture is ready" if count == 1 else f"Your {count} pictures are ready"
        shown = [
            {
                "link": picture.link,
                "cid": self._cid(picture.row) if picture.data is not None else None,
                "width": picture.row.width,
                "height": picture.row.height,
                "kind": extension_of(picture.row.content_type).upper(),
            }
            for picture in pictures
        ]
        values = self._shared(job) | {
            "pictures": shown,
            "cost": usd(job.charge_micros or 0),
            "days": LINK_DAYS,
        }
        message = self._compose("result", subject, values, item)
        html = message.get_body(("html",))
        if html is None:
            raise LookupError("a message has HTML")
        for picture in pictures:
            if picture.data is not None:
                kind = extension_of(picture.row.content_type)
                html.add_related(
                    picture.data,
                    "image",
                    kind,
                    cid=f"<{self._cid(picture.row)}>",
                    filename=f"{picture.row.id}.{kind}",
                    disposition="inline",
                )
        return message

    def _unfinished(self, item: Item, job: JobRow) -> EmailMessage:
        canceled = job.status == "canceled"
        subject = "Your job was canceled" if canceled else "Your picture could not be made"
        values = {"reason": job.error_message or "It failed.", "code": None if canceled else job.error_code}
        return self._compose("failed", subject, self._shared(job) | values, item)

    def _shared(self, job: JobRow) -> dict[str, Any]:
        asked = job.admitted.inputs.get("prompt", job.admitted.options.get("prompt"))
        words = " ".join(asked.split()) if isinstance(asked, str) else ""
        # Nothing that rings a bell, or turns what follows around.
        words = "".join(character for character in words if character.isprintable())
        prompt = words if len(words) <= PROMPT else f"{words[: PROMPT - 1]}…"
        return {"prompt": prompt, "model": job.model, "job_id": job.id}

    def _compose(self, name: str, subject: str, values: dict[str, Any], item: Item) -> EmailMessage:
        return self._letters.compose(name, subject, values, item.recipient, item.id, item.created_at)

    def _cid(self, row: ImageRow) -> str:
        return f"{row.id}@{self._letters.domain}"
