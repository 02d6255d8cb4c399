"""An SMTP server that keeps mails, in place of the image that does: `python smtp_container.py FOLDER`.

On every address, port 1025; STARTTLS with MP_SMTP_TLS_CERT and MP_SMTP_TLS_KEY, without which it takes no mail.
"""

import asyncio
import os
import ssl
import sys
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

__all__: list[str] = []

PORT = 1025


class Keeper:
    """Each mail becomes a file, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = count(len(list(folder.iterdir())))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        """Keep a mail."""
        name = f"{next(self._numbers):04}.eml"
        half = self._folder / f".{name}"
        half.write_bytes(envelope.content if isinstance(envelope.content, bytes) else b"")
        half.rename(self._folder / name)
        return "250 OK"


async def main(folder: Path) -> None:
    """Serve until the process ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["MP_SMTP_TLS_CERT"], os.environ["MP_SMTP_TLS_KEY"])
    keeper = Keeper(folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keeper, tls_context=context, require_starttls=True, hostname="smtp"), port=PORT
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
