"""GATEWAY_SMTP_URL: where letters go."""

from urllib.parse import unquote, urlsplit

from msgspec import Struct

__all__ = ["SmtpUrl", "read_smtp_url"]


class SmtpUrl(Struct, frozen=True, kw_only=True):
    """GATEWAY_SMTP_URL, read."""

    host: str
    port: int
    tls: bool
    """From the first byte; else STARTTLS is used, and needed unless the host is this machine."""
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"SmtpUrl(host={self.host!r}, port={self.port})"


def read_smtp_url(url: str) -> SmtpUrl:
    """`smtp://user:password@host:587` (STARTTLS) or `smtps://host:465` (TLS).

    Raises:
        ValueError: neither.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("write smtp://user:password@host:587, or smtps://host:465")
    return SmtpUrl(
        host=parts.hostname,
        port=parts.port or (465 if parts.scheme == "smtps" else 587),
        tls=parts.scheme == "smtps",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
