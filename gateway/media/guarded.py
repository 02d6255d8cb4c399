"""Connections to hosts that users name: to the open internet alone, unless the operator allows more.

Each hop: the URL is read once, its name looked up once, every address held to `is_public`, and
a socket is only made for an address that was checked. So a name that answers differently the
second time is never asked a second time. TLS still verifies the name. Nothing of ours goes with
the request: no cookie, no credential, no proxy.
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.media.addresses import PORTS, Target, is_public, literal, read_target
from gateway.media.errors import MediaRefused

__all__ = ["Address", "Guarded", "Lookup", "reason", "system_lookup"]

Address = IPv4Address | IPv6Address
Lookup = Callable[[str, int], Collection[str]]
"""A name and a port to addresses, as text; blocks; OSError when there are none."""

CONNECT_S = 10.0
SILENCE_S = 15.0


def system_lookup(host: str, port: int) -> list[str]:
    """The system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class _Pinned(AbstractResolver):
    """Answers every name with the addresses that were checked."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _socket_for(addresses: frozenset[Address], info: Any) -> socket.socket:
    """A socket to a checked address: whatever aiohttp was led to, it connects nowhere else."""
    family, kind, proto, _, sockaddr = info
    if ip_address(sockaddr[0]) not in addresses:
        raise OSError(f"{sockaddr[0]} was not checked")
    return socket.socket(family, kind, proto)


class Guarded:
    """Opens them.

    Args:
        allow: GATEWAY_FETCH_ALLOW: host and port pairs that may be private, and plain HTTP.
        lookup: resolves names; a seam for tests.
        public: which addresses are of the open internet; a seam for tests.
        ports: which ports are; a seam for tests.
        ssl_context: what is trusted; by default httpx's certificates, or `SSL_CERT_FILE`.
        threads: names that are looked up at once.
    """

    def __init__(
        self,
        allow: Collection[tuple[str, int]] = (),
        *,
        lookup: Lookup = system_lookup,
        public: Callable[[Address], bool] = is_public,
        ports: Collection[int] = PORTS,
        ssl_context: ssl.SSLContext | None = None,
        threads: int = 8,
    ) -> None:
        self._allow = frozenset(allow)
        self._lookup = lookup
        self._public = public
        self._ports = ports
        self._ssl_context = ssl_context
        # Its own threads: a name server that does not answer must not hold up anything else.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    def close(self) -> None:
        """Give the threads back. Idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def read(self, url: str) -> Target:
        """A user's URL as it is connected with.

        Raises:
            MediaRefused: not one that is asked.
        """
        return read_target(url, self._allow, self._ports)

    @asynccontextmanager
    async def session(self, target: Target) -> AsyncIterator[aiohttp.ClientSession]:
        """A client for one request to a target, which follows no redirect by itself.

        Raises:
            MediaRefused: as `addresses`.
        """
        addresses = await self.addresses(target)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses),
            socket_factory=functools.partial(_socket_for, frozenset(addresses)),
            ssl=await self._trusted(),
            use_dns_cache=False,
            force_close=True,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=SILENCE_S),
        ) as session:
            yield session

    async def addresses(self, target: Target) -> list[Address]:
        """The checked addresses of a target.

        Raises:
            MediaRefused: there are none, or one of them may not be reached.
        """
        known = literal(target.host)
        if known is not None:
            addresses: list[Address] = [known]
        else:
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._threads, self._lookup, target.host, target.port)
            except (OSError, UnicodeError) as error:
                raise MediaRefused(f"{target.host} has no address") from error
            addresses = [ip_address(text) for text in dict.fromkeys(found)]
        # One that is private is enough: a name with both is made to get at the private one.
        if not addresses or not (target.allowed or all(self._public(address) for address in addresses)):
            raise MediaRefused(f"{target.host} is not on the open internet")
        return addresses

    async def _trusted(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = await asyncio.to_thread(httpx.create_ssl_context)
        return self._ssl_context


def reason(error: Exception) -> str:
    """What went wrong with a request, in few words and nothing of our network."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "its certificate or TLS is not right"
    if isinstance(error, TimeoutError):
        return "it was silent too long"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return "the answer broke off"
