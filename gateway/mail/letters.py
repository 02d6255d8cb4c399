"""Letters: which there are, and how one becomes a message of text and HTML.

A letter in the outbox names its link by an id; the link's signature is made when it is sent, so
that whoever reads the database, or a copy of it, cannot follow a link.
"""

from email.message import EmailMessage
from email.utils import format_datetime
from importlib import resources
from typing import Literal

import jinja2
from msgspec import Struct

from gateway.ambient import moment
from gateway.secret import Signer

__all__ = ["LINKS", "Letter", "Letters", "Link"]

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
            "address": recipient,
            "host": self._public_url.partition("://")[2],
            "public_url": self._public_url,
            "hours": link.hours if link else None,
            "link": f"{self._public_url}{LINKS[link.purpose]}#{self.token(link)}" if link else None,
            "subject": SUBJECTS[letter.name],
        }
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = SUBJECTS[letter.name]
        message["Date"] = format_datetime(moment(at))
        message["Message-ID"] = f"<{id_}@{self._sender.rpartition('@')[2].rstrip('>')}>"
        # Automatic, so that no holiday notice answers (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        text = self._templates.get_template(f"{letter.name}.txt.jinja").render(values)
        # As it is, so that a link can be copied from an .eml file.
        message.set_content(text, cte="7bit")
        html = self._templates.get_template(f"{letter.name}.html.jinja").render(values)
        message.add_alternative(html, subtype="html")
        return message
