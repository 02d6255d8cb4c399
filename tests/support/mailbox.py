"""A real SMTP server on the loopback interface that keeps what it is sent."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from support.gateway_process import free_port, until

__all__ = ["Mailbox", "link_of"]


class Mailbox:
    """Use it as a context manager. `refuse` is what it answers instead of taking a mail, while it is set;
    `most_bytes` is the size of a mail that it takes.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse: str | None = None
        self.most_bytes: int | None = None
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        """Keep a mail, or refuse it."""
        if self.refuse is not None:
            return self.refuse
        content: Any = envelope.content
        if self.most_bytes is not None and len(content) > self.most_bytes:
            return "552 5.3.4 Message too big"
        mail = message_from_bytes(content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    @property
    def url(self) -> str:
        """GATEWAY_SMTP_URL."""
        return f"smtp://127.0.0.1:{self._controller.port}"

    def env(self) -> dict[str, str]:
        """The settings of a gateway that sends its mail here."""
        return {"GATEWAY_SMTP_URL": self.url, "GATEWAY_EMAIL_FROM": "Images <images@gateway.test>"}

    def to(self, address: str, subject: str) -> EmailMessage:
        """The last mail of this subject to an address, once it has come."""

        def found() -> EmailMessage | None:
            mails = [mail for mail in self.mails if mail["To"] == address and subject in mail["Subject"]]
            return mails[-1] if mails else None

        mail: EmailMessage = until(f"a mail {subject!r} to {address}", found)
        return mail

    def __enter__(self) -> "Mailbox":
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


def link_of(mail: EmailMessage) -> str:
    """The link in a mail's text, which is the one in its HTML."""
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    (link,) = re.findall(r"https?://\S+#\S+", text.get_content())
    assert f'href="{link}"' in html.get_content()
    return str(link)
