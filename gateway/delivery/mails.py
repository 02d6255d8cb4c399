"""Delivers mails: the gateway's own letters, and those that tell of a job's end."""

from email.message import EmailMessage

import msgspec

from gateway.delivery.outbox import Item
from gateway.delivery.results import JobGone, ResultMails
from gateway.delivery.worker import Again, Failed, Outcome, Sent
from gateway.mail.letters import Letter, Letters
from gateway.mail.transport import Refused, TooLarge, Transport, Undelivered
from gateway.storage import StorageError

__all__ = ["Mails"]


class Mails:
    """Sends mails.

    Args:
        letters: writes the gateway's own.
        results: writes those of jobs.
        transport: takes them.
    """

    def __init__(self, letters: Letters, results: ResultMails, transport: Transport) -> None:
        self._letters = letters
        self._results = results
        self._transport = transport

    async def deliver(self, item: Item) -> Outcome:
        """One try at a row of the outbox."""
        try:
            await self._send(item)
        except (JobGone, Refused) as error:
            return Failed(why=str(error))
        except (StorageError, Undelivered) as error:
            return Again(why=str(error))
        return Sent()

    async def _send(self, item: Item) -> None:
        try:
            await self._transport.send(await self._write(item))
        except TooLarge:
            if item.job_id is None:
                raise
            # Its links alone are better than nothing.
            await self._transport.send(await self._write(item, inline=False))

    async def _write(self, item: Item, *, inline: bool = True) -> EmailMessage:
        if item.job_id is not None:
            return await self._results.write(item, item.job_id, inline=inline)
        letter = msgspec.json.decode(item.message, type=Letter)
        return self._letters.write(letter, item.recipient, item.id, item.created_at)
