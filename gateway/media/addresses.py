"""Which URLs of users are fetched at all, and which addresses may be connected to.

Python's `is_global` differs between versions and calls several ways to a private address global,
so what is refused beside it is written out here.
"""

import ipaddress
import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from msgspec import Struct
from yarl import URL

from gateway.media.errors import MediaRefused

__all__ = ["MAX_URL", "Target", "is_public", "read_target"]

MAX_URL = 8192
"""Characters."""
PORTS = frozenset({443})
"""Ports of the open internet; GATEWAY_FETCH_ALLOW names more."""

GLOBAL_UNICAST = ip_network("2000::/3")
REFUSED_4 = [
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers; a cloud's metadata is at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent, at a public address
        "169.254.0.0/16",  # link-local: metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF; a cloud's metadata is at 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
REFUSED_6 = [
    ip_network(block)
    for block in (
        "2001::/23",  # IETF; Teredo carries any IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "3fff::/20",
    )
]

# What some programs read as an IPv4 address: 127.1, 0x7f000001, 0177.0.0.1, 2130706433.
NUMERIC = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)", re.IGNORECASE)
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*", re.IGNORECASE)
# White space and controls are dropped by some parsers, and a backslash is a slash to some.
AMBIGUOUS = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2000-\u200f\u2028-\u202f\u3000\ufeff\ud800-\udfff]")
AUTHORITY = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)


class Target(Struct, frozen=True, kw_only=True):
    """One hop: where a request goes."""

    url: URL
    """The one that is connected with; no other parser reads it after this."""
    host: str
    """A name in ASCII, or an address in its canonical spelling."""
    port: int
    allowed: bool
    """The operator named this host and port: its address may be private."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the open internet, as far as its number says."""
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in block for block in REFUSED_4)
    # Everything that embeds or translates to an IPv4 address lies outside, or is in the list.
    inside = address in GLOBAL_UNICAST and address.scope_id is None
    return inside and not any(address in block for block in REFUSED_6)


def read_target(text: str, allow: Collection[tuple[str, int]] = (), ports: Collection[int] = PORTS) -> Target:
    """Read a user's URL.

    Args:
        text: as it was given, or as a redirect says, made absolute.
        allow: host and port pairs that may be private and plain HTTP.
        ports: of the open internet.

    Raises:
        MediaRefused: not a URL that is fetched.
    """
    if len(text) > MAX_URL:
        raise MediaRefused(f"a URL of {len(text)} characters is too long; at most {MAX_URL}")
    authority = AUTHORITY.match(text)
    if authority is None:
        raise MediaRefused("only https:// is fetched")
    if AMBIGUOUS.search(text):
        raise MediaRefused("the URL holds a space, a control character or a backslash")
    if "@" in authority[1]:
        raise MediaRefused("a user or password in a URL is not taken")
    try:
        parts = URL(text)
        host, port = _host(parts.raw_host or "", bracketed="[" in authority[1]), parts.port or 0
        url = _as_signed(text, parts, host, port)
    except ValueError as error:
        raise MediaRefused("the URL cannot be read") from error
    if (host, port) in allow:
        return Target(url=url, host=host, port=port, allowed=True)
    if parts.scheme != "https":
        raise MediaRefused("only https:// is fetched")
    if port not in ports:
        raise MediaRefused(f"port {port} is not fetched from; only {', '.join(map(str, sorted(ports)))}")
    return Target(url=url, host=host, port=port, allowed=False)


def _as_signed(text: str, parts: URL, host: str, port: int) -> URL:
    """What is asked for: host and port as they were checked, path and query to the letter, for a
    signature may hang on them.
    """
    exact = URL(text, encoded=True) if text.isascii() else parts
    return URL.build(
        scheme=parts.scheme,
        host=f"[{host}]" if ":" in host else host,
        port=port,
        path=exact.raw_path or "/",
        query_string=exact.raw_query_string,
        encoded=True,
    )


def _host(raw: str, *, bracketed: bool) -> str:
    """The host in its one spelling.

    Raises:
        MediaRefused: no name, and no address as it should be written.
    """
    if "%" in raw or bracketed != (":" in raw):
        raise MediaRefused("the host is no plain name or address")
    if bracketed or NUMERIC.fullmatch(raw):
        try:
            return str(ip_address(raw))
        except ValueError as error:
            raise MediaRefused("the host is no plain name or address") from error
    if not NAME.fullmatch(raw):
        raise MediaRefused("the host is no plain name or address")
    return raw.lower()


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
