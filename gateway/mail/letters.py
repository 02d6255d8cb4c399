"""Letters: which there are, and how one becomes a message of text and HTML.

A letter in the outbox names its link by an id; the link's signature is made when it is sent, so
that whoever reads the database, or a copy of it, cannot follow a link.
"""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from importlib import resources
from typing import Any, Literal

import jinja2
from msgspec import Struct

from gateway.ambient import moment
from gateway.secret import Signer

__all__ = ["LINKS", "Letter", "Letters", "Link"]

# Lines as SMTP has them, and no byte that a server might not take: the rest is encoded.
_POLICY = SMTP.clone(cte_type="7bit")

# Read once, here: a gateway that answers reads no file.
_TEMPLATES = {
    found.name: found.read_text() for found in resources.files("gateway.mail").joinpath("templates").iterdir()
}

Name = Literal["verify", "welcome", "known", "reset", "changed"]

SUBJECTS: dict[Name, str] = {
    "verify": "Confirm your address",
    "welcome": "Your account is ready",
    "known": "You have an account already",
    "reset": "Set a new password",
    "changed": "Your password was changed",
}

LINKS = {"verify": "/auth/verify", "reset": "/auth/reset"}
"""The page that each kind of link leads to. The token is in the fragment: no server, proxy or
Referer sees it."""


class Link(Struct, frozen=True, kw_only=True):
    """A link that only its reader can follow."""

    purpose: Literal["verify", "reset"]
    id: str
    """What the page sends back, with its signature."""
    hours: int
    """How long it works, for people."""


class Letter(Struct, frozen=True, kw_only=True):
    """A letter as the outbox keeps it."""

    name: Name
    link: Link | None = None


class Letters:
    """Writes letters.

    Args:
        signers: of each purpose in `LINKS`.
        public_url: what links begin with.
        sender: the From address.
    """

    def __init__(self, signers: dict[str, Signer], public_url: str, sender: str) -> None:
        self._signers = signers
        self._public_url = public_url
        self._sender = sender
        self._templates = jinja2.Environment(
            loader=jinja2.DictLoader(_TEMPLATES),
            autoescape=jinja2.select_autoescape(("html.jinja",), default=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def token(self, link: Link) -> str:
        """What stands behind a link's `#`: its id and our signature of it."""
        return f"{link.id}.{self._signers[link.purpose].sign(link.id)}"

    def write(self, letter: Letter, recipient: str, id_: str, at: int) -> EmailMessage:
        """A letter as a message.

        Args:
            letter: which, and its link.
            recipient: the address.
            id_: the outbox row's: a second delivery has the same Message-ID, and is seen as one.
            at: when it was written, milliseconds UTC.
        """
        link = letter.link
        values = {
            "hours": link.hours if link else None,
            "link": f"{self._public_url}{LINKS[link.purpose]}#{self.token(link)}" if link else None,
        }
        return self.compose(letter.name, SUBJECTS[letter.name], values, recipient, id_, at)

    def compose(
        self, name: str, subject: str, values: dict[str, Any], recipient: str, id_: str, at: int
    ) -> EmailMessage:
        """A message of a template's text and HTML.

        Args:
            name: the template's.
            subject: one line.
            values: what the template asks for, beside what is the same in all.
            recipient: the address.
            id_: as in `write`.
            at: as in `write`.
        """
        shared = {
            "address": recipient,
            "host": self._public_url.partition("://")[2],
            "public_url": self._public_url,
            "subject": subject,
        }
        message = EmailMessage(policy=_POLICY)
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = subject
        message["Date"] = format_datetime(moment(at))
        message["Message-ID"] = f"<{id_}@{self.domain}>"
        # Automatic, so that no holiday notice answers (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        text = self._templates.get_template(f"{name}.txt.jinja").render(shared | values)
        # As it is where it can be, so that a link can be copied from an .eml file.
        message.set_content(text, cte="7bit" if text.isascii() else "quoted-printable")
        html = self._templates.get_template(f"{name}.html.jinja").render(shared | values)
        message.add_alternative(html, subtype="html")
        return message

    @property
    def domain(self) -> str:
        """What ids in messages end with."""
        return self._sender.rpartition("@")[2].rstrip(">")
