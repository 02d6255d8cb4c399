"""Where letters go: an SMTP server, or files beside the database where none is set."""

import asyncio
import ssl
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path
from typing import Protocol

import aiosmtplib

from gateway.mail.smtp_url import SmtpUrl

__all__ = [
    "FileTransport",
    "Refused",
    "SmtpTransport",
    "TooLarge",
    "Transport",
    "Undelivered",
]

TIMEOUT_S = 30.0
EXCEEDED = 552
"""RFC 5321: the message is too large, or the mailbox is full."""


class Undelivered(Exception):
    """Not now: the same letter may go through later."""


class Refused(Exception):
    """Never: the server says that this letter, or this address, is not taken (SMTP 5xx)."""


class TooLarge(Refused):
    """Perhaps a smaller letter is taken."""


class Transport(Protocol):
    """Hands a message over."""

    async def send(self, message: EmailMessage) -> None:
        """Deliver a message.

        Raises:
            Undelivered, Refused: it was not taken.
        """
        ...


class FileTransport:
    """Writes each message as an `.eml` file, which mail programs open.

    Args:
        folder: made at the first letter.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """Write the file, whole or not at all."""
        try:
            await asyncio.to_thread(self._write, message)
        except OSError as error:
            raise Undelivered(f"the folder of mails cannot be written: {error}") from error

    def _write(self, message: EmailMessage) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = str(message["Message-ID"]).strip("<>").partition("@")[0]
        aside = self._folder / f".{name}.part"
        aside.write_bytes(message.as_bytes(policy=message.policy.clone(linesep="\n")))
        aside.chmod(0o600)
        aside.replace(self._folder / f"{name}.eml")


class SmtpTransport:
    """Speaks to an SMTP server, one connection a letter."""

    def __init__(self, url: SmtpUrl, context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._context = context or ssl.create_default_context()

    async def send(self, message: EmailMessage) -> None:
        """Send it. A password or a letter never goes over an open network unencrypted."""
        url = self._url
        local = url.host in ("127.0.0.1", "localhost", "::1")
        sender, recipient = (message[name].addresses[0].addr_spec for name in ("From", "To"))
        wide = not (sender + recipient).isascii()
        # A picture's half second of work: not in the loop that answers requests.
        content = await asyncio.to_thread(
            message.as_bytes, policy=(SMTPUTF8 if wide else SMTP).clone(cte_type="7bit")
        )
        try:
            await aiosmtplib.send(
                content,
                sender=sender,
                recipients=[recipient],
                mail_options=["SMTPUTF8"] if wide else [],
                hostname=url.host,
                port=url.port,
                username=url.user,
                password=url.password,
                use_tls=url.tls,
                # None: where the server offers it.
                start_tls=False if url.tls else (None if local else True),
                tls_context=self._context,
                timeout=TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {refused.code for refused in error.recipients}
            kind = Refused if all(code >= 500 for code in codes) else Undelivered
            raise kind(f"the server refuses the address ({', '.join(map(str, sorted(codes)))})") from error
        except aiosmtplib.SMTPAuthenticationError as error:
            raise Undelivered(f"the server refuses GATEWAY_SMTP_URL's user ({error.code})") from error
        except aiosmtplib.SMTPResponseException as error:
            kind = TooLarge if error.code == EXCEEDED else Refused if error.code >= 500 else Undelivered
            raise kind(f"the server answered {error.code}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Undelivered(f"{url.host}:{url.port}: {type(error).__name__}") from error
