"""One guarded fetch: hostile URLs, rebinding and redirects, over real sockets."""

import asyncio
import socket
import ssl
import threading
from ipaddress import ip_address
from pathlib import Path

import pytest
from support.web_server import DRIP, ENDLESS, WebServer, page, redirect

from gateway.media.errors import MediaRefused, MediaTooLarge
from gateway.media.fetch import Fetcher
from gateway.media.guarded import _socket_for as socket_for
from gateway.media.guarded import system_lookup

# Names that nobody has to be asked for.
NAMES = {
    "good.test": ["127.0.0.1"],
    "secret.test": ["127.0.0.2"],
    "other.test": ["127.0.0.1"],
    "both.test": ["127.0.0.1", "127.0.0.2"],
    "public.test": ["93.184.215.14"],
    "half.test": ["93.184.215.14", "127.0.0.1"],
    "half6.test": ["2606:2800:21f:cb07::1", "::1"],
    "meta.test": ["169.254.169.254"],
    "metadata.google.internal": ["169.254.169.254"],
    "127.0.0.1.nip.test": ["127.0.0.1"],
    "l\xf4lhost.test".encode("idna").decode(): ["127.0.0.1"],
    "localhost": ["::1", "127.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "zone.test": ["fe80::1%lo"],
}


def lookup(host: str, port: int) -> list[str]:
    if host in NAMES:
        return NAMES[host]
    raise OSError(f"{host} is not known here")


HOSTILE = Path(__file__).with_name("hostile_urls.txt").read_text("utf-8").split()
"""`{p}` is the port of a listener at 127.0.0.1."""
HOSTILE += [
    "https://127.0.0.1:{p}\t/", "https://127.0.0.1:{p}\r\nHost: public.test/", " https://127.0.0.1:{p}/",
    "https://public.test/\x00", "https://public .test/", "https://public.test\u2028.test/", "",
    "https://public.test/" + "a" * 8192,
]  # fmt: skip


def test_the_table_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 90


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_hostile_url_reaches_nobody(url, spool, trusted) -> None:
    async with WebServer() as server, spool() as into:
        fetcher = Fetcher(lookup=lookup, ports={443, server.port}, ssl_context=trusted)
        with pytest.raises(MediaRefused):
            await fetcher.fetch(url.replace("{p}", str(server.port)), into, deadline_s=2)
        assert (server.connections, into.size) == (0, 0)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{p}/", "https://localhost:{p}/", "https://①②⑦.⓪.⓪.①:{p}/"]
)
async def test_without_the_check_they_would_reach_the_listener(url, spool, trusted) -> None:
    async with WebServer() as server, spool() as into:
        fetcher = Fetcher(
            lookup=lookup, public=lambda address: True, ports={server.port}, ssl_context=trusted
        )
        with pytest.raises(MediaRefused):  # it speaks no TLS
            await fetcher.fetch(url.replace("{p}", str(server.port)), into, deadline_s=2)
        assert server.connections == 1


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_no_proxy_of_the_environment(name, fetch, good, monkeypatch) -> None:
    async with WebServer() as proxy:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        good.pages["/a"] = page(b"direct")
        assert await fetch("/a") == b"direct"
        assert proxy.connections == 0


# -- one server that counts as public, at 127.0.0.1 ----------------------------------------


class Lookup:
    """Answers `flip.test` with a good address first, and with the secret one from then on."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host == "flip.test":
            return ["127.0.0.1" if self.asked.count(host) == 1 else "127.0.0.2"]
        return lookup(host, port)


@pytest.fixture
def names() -> Lookup:
    return Lookup()


@pytest.fixture
def make(names, good, trusted):
    def make(**more) -> Fetcher:
        settings = {"lookup": names, "ports": {good.port}, "ssl_context": trusted} | more
        return Fetcher(public=lambda address: address == ip_address("127.0.0.1"), **settings)

    return make


@pytest.fixture
def fetch(make, good, spool):
    async def fetch(path: str, *, host="good.test", limit=1 << 20, deadline_s=5.0, **more) -> bytes:
        url = path if "://" in path else f"https://{host}:{good.port}{path}"
        async with spool(limit) as into:
            await make(**more).fetch(url, into, deadline_s=deadline_s)
            return into.path.read_bytes()

    return fetch


async def test_bytes_arrive_and_nothing_of_ours_goes_out(fetch, good) -> None:
    good.pages["/a?b=%2F"] = page(b"x" * 200_000)
    assert await fetch("/a?b=%2F#part") == b"x" * 200_000
    first, *headers = good.heads[0].strip().lower().split("\r\n")
    assert first == "get /a?b=%2f http/1.1"
    assert {line.split(":")[0] for line in headers} == {
        "host", "accept", "accept-encoding", "user-agent", "connection",
    }  # fmt: skip
    assert "accept-encoding: identity" in headers


async def test_a_name_is_asked_for_once(fetch, good, secret, names) -> None:
    good.pages["/"] = page(b"good")
    assert await fetch("/", host="flip.test") == b"good"
    assert (names.asked, secret.connections) == (["flip.test"], 0)


async def test_a_name_that_turns_private_is_not_followed(fetch, good, secret) -> None:
    good.pages["/"] = redirect("/again")
    secret.pages["/again"] = page(b"secret")
    with pytest.raises(MediaRefused, match="not on the open internet"):
        await fetch("/", host="flip.test")
    assert (good.connections, secret.connections) == (1, 0)


async def test_a_name_with_one_private_address_is_refused(fetch, good, secret) -> None:
    with pytest.raises(MediaRefused, match="not on the open internet"):
        await fetch("/", host="both.test")
    assert good.connections == secret.connections == 0


def test_a_socket_is_made_for_a_checked_address_alone() -> None:
    checked = frozenset({ip_address("93.184.215.14")})
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    with pytest.raises(OSError, match="not checked"):
        socket_for(checked, (*info, ("127.0.0.1", 443)))
    socket_for(checked, (*info, ("93.184.215.14", 443))).close()


@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.2:{p}/", "https://secret.test:{p}/", "//127.0.0.2:{p}/", "http://good.test:{p}/",
     "file:///etc/passwd", "https://good.test:22/", "https://me@good.test:{p}/", "https://[::1]:{p}/",
     "\\\\127.0.0.2:{p}\\", "https://good.test:{p}\\@127.0.0.2/", "https://169.254.169.254/", "data:,x",
     "https://0x7f000002:{p}/", "https://[", "https://nobody.test/"],
)  # fmt: skip
async def test_a_redirect_is_checked_anew(location, fetch, good, secret) -> None:
    good.pages["/"] = redirect(location.replace("{p}", str(good.port)))
    with pytest.raises(MediaRefused):
        await fetch("/")
    assert (good.connections, secret.connections) == (1, 0)


async def test_a_redirect_within_the_open_internet_is_followed_without_cookies(fetch, good) -> None:
    good.pages["/"] = redirect("b/c?d#e", "Set-Cookie: a=b; Path=/")
    good.pages["/b/c?d"] = page(b"there")
    assert await fetch("/") == b"there"
    assert "cookie" not in good.heads[1].lower()


async def test_a_redirect_loop_ends(fetch, good) -> None:
    good.pages["/"] = redirect("/")
    with pytest.raises(MediaRefused, match="more than 5 redirects"):
        await fetch("/")
    assert good.connections == 6


async def test_the_certificate_is_of_the_name(fetch, good) -> None:
    with pytest.raises(MediaRefused, match="certificate"):
        await fetch("/", host="other.test")
    assert good.heads == []


async def test_a_certificate_of_nobody(fetch, good) -> None:
    with pytest.raises(MediaRefused, match="certificate"):
        await fetch("/", ssl_context=ssl.create_default_context())
    assert good.heads == []


@pytest.mark.parametrize(
    "answer",
    [page(b"x", status="404 No"), page(b"", status="204 None"), page(b"x", status="206 Part"),
     page(b"", status="304 Same"), page(b"", status="302 Found"), page(b"x", "Content-Encoding: gzip"),
     page(b"x", "Content-Encoding: br"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx", b"no http\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, b""],
)  # fmt: skip
async def test_answers_that_are_no_picture(answer, fetch, good) -> None:
    good.pages["/"] = answer
    with pytest.raises(MediaRefused):
        await fetch("/")


async def test_too_many_bytes_by_their_own_word(fetch, good) -> None:
    good.pages["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"
    with pytest.raises(MediaTooLarge, match="11 bytes; at most 10"):
        await fetch("/", limit=10)


async def test_too_many_bytes_without_a_word(fetch, good) -> None:
    good.pages["/"] = ENDLESS
    with pytest.raises(MediaTooLarge, match="more than 3000000"):
        await fetch("/", limit=3_000_000)


async def test_a_slow_drip_ends_with_the_deadline(fetch, good) -> None:
    good.pages["/"] = DRIP
    with pytest.raises(MediaRefused, match=r"within 0\.2 seconds"):
        await fetch("/", deadline_s=0.2)


async def test_a_name_server_that_does_not_answer(fetch) -> None:
    released = threading.Event()

    def stalled(host: str, port: int) -> list[str]:
        released.wait(10)
        return []

    with pytest.raises(MediaRefused, match="within"):
        await fetch("/", lookup=stalled, deadline_s=0.1)
    released.set()


# -- what the operator allows --------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "store.internal"])
async def test_an_allowed_pair_may_be_private_and_plain(host, spool) -> None:
    async with WebServer() as server, spool() as into:
        server.pages["/a"] = page(b"kept")
        fetcher = Fetcher({(host, server.port)}, lookup=lambda name, port: ["127.0.0.1"])
        await fetcher.fetch(f"http://{host}:{server.port}/a", into, deadline_s=5)
        assert into.path.read_bytes() == b"kept"


async def test_another_port_or_name_of_it_may_not(spool) -> None:
    async with WebServer() as server, spool() as into:
        fetcher = Fetcher({("127.0.0.1", 1), ("other", server.port)}, lookup=system_lookup)
        with pytest.raises(MediaRefused):
            await fetcher.fetch(f"http://127.0.0.1:{server.port}/a", into, deadline_s=5)
        assert server.connections == 0


async def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in await asyncio.to_thread(system_lookup, "127.0.0.1", 443)
