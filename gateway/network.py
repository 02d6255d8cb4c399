"""Where a request comes from: its address, behind proxies that we know, and its network."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

__all__ = ["Network", "client_address", "is_public", "network_of", "origin_of", "read_networks"]

Network = IPv4Network | IPv6Network

RESERVED = ("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test")
"""Last labels of names that the public DNS does not have (IANA's special-use names, and `internal`)."""
NOWHERE = "-"
"""Of a request over no network: a command in this process, or a Unix socket."""


def read_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Addresses and networks (10.0.0.0/8) as they are written in a setting.

    Raises:
        ValueError: one of them is neither.
    """
    return tuple(ip_network(text) for text in texts)


def client_address(peer: str | None, forwarded: list[str], trusted: tuple[Network, ...]) -> str:
    """The address that a request comes from.

    A proxy writes who asked it at the end of X-Forwarded-For; what stands further left, anybody may
    have written. So the list is read from its end for as long as the writer is a proxy of ours.

    Args:
        peer: the other end of the connection.
        forwarded: the X-Forwarded-For headers, in order.
        trusted: our proxies.
    """
    here = _address(peer or "")
    if here is None:
        return NOWHERE
    hops = [part.strip() for header in forwarded for part in header.split(",")]
    while hops and any(ip_address(here) in network for network in trusted):
        before = _address(hops.pop())
        if before is None:
            break
        here = before
    return here


def network_of(address: str) -> str:
    """What one subscriber has: the /24 of an IPv4 address, the /64 of an IPv6 one."""
    if address == NOWHERE:
        return address
    bits = 64 if isinstance(ip_address(address), IPv6Address) else 24
    return str(ip_network(f"{address}/{bits}", strict=False))


def origin_of(url: str) -> str | None:
    """What a browser writes as the Origin of a page at this URL, in small letters; None for no URL."""
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None


def is_public(host: str) -> bool:
    """Whether somebody on the internet may reach a host, as far as its name tells; no look-up.

    Args:
        host: a name or an address, without brackets and port.
    """
    try:
        return ip_address(host).is_global
    except ValueError:
        labels = host.lower().rstrip(".").split(".")
        return len(labels) > 1 and labels[-1] not in RESERVED


def _address(text: str) -> str | None:
    """An address as Python writes it; `::ffff:1.2.3.4` is 1.2.3.4."""
    try:
        found = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
