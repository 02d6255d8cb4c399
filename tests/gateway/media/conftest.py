"""What the tests of media share: loopback servers, a certificate, files on their way in."""

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from support.web_server import WebServer

from gateway.media.spool import Spool

NAMES = ("good.test", "flip.test", "secret.test", "127.0.0.1", "127.0.0.2")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA) -> ssl.SSLContext:
    """What a client trusts."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority: trustme.CA) -> ssl.SSLContext:
    """What a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(context)
    return context


@pytest.fixture
async def good(certified: ssl.SSLContext) -> AsyncIterator[WebServer]:
    """The one that tests call public, at 127.0.0.1."""
    async with WebServer(tls=certified) as server:
        yield server


@pytest.fixture
async def secret(good: WebServer, certified: ssl.SSLContext) -> AsyncIterator[WebServer]:
    """The one that nothing may reach, at 127.0.0.2 and the same port."""
    async with WebServer("127.0.0.2", good.port, tls=certified) as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Callable[..., Spool]:
    return lambda limit=1 << 20: Spool(tmp_path / "in", limit)
