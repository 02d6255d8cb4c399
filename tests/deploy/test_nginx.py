"""deploy/nginx.conf, in a real nginx: what reaches a gateway, and what does not."""

import asyncio
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from support.gateway_process import free_port, until
from support.loopback_fal_http import HttpServer, Reply, Request

CONF = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian's nginx-light)")


class Backend(HttpServer):
    """Notes what it is asked. `wire` is how it answers."""

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        super().__init__()
        self._at = host, port
        self.asked: list[Request] = []
        self.wire = "whole"

    async def _start(self, port: int) -> None:
        host, wanted = self._at
        self._server = await asyncio.start_server(self._serve, host, wanted or port)
        self.port = wanted or port

    async def respond(self, request: Request) -> Reply:
        self.asked.append(request)
        return Reply(200, b"{}", wire=self.wire)


class NameServer:
    """Knows one name, as Docker's does. `addresses` is what it stands for now."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(20)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            asked, who = self._socket.recvfrom(512)
            if not asked:
                return
            assert asked[12:20] == b"\x07gateway"
            question = asked[12 : asked.index(b"\0", 12) + 5]
            head = asked[:2] + struct.pack(">HHHHH", 0x8180, 1, len(self._addresses), 0, 0)
            rows = [
                b"\xc0\x0c" + struct.pack(">HHIH4s", 1, 1, 1, 4, socket.inet_aton(a)) for a in self._addresses
            ]
            self._socket.sendto(head + question + b"".join(rows), who)


def here(conf: str, folder: Path, listens: int, port: int, names: int) -> str:
    """The file for this machine: other ports, other folders, another DNS server than Docker's."""
    changes = {
        " /tmp/": f" {folder}/",
        "set $gateways gateway:8000;": f"set $gateways gateway:{port};",
        "resolver 127.0.0.11 valid=2s": f"resolver 127.0.0.1:{names} valid=1s",
        "listen 8080;": f"listen 127.0.0.1:{listens};",
        "listen 127.0.0.1:8081;": f"listen unix:{folder}/alive;",
        "/dev/stdout": f"{folder}/access.log",
        "/dev/stderr": f"{folder}/error.log",
        "worker_processes auto;": "worker_processes 1;",
    }
    for old, new in changes.items():
        assert old in conf, old
        conf = conf.replace(old, new)
    return conf


Proxy = Callable[..., str]


@pytest.fixture
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Starts nginx before gateways of a port, and says where it is."""
    started: list[subprocess.Popen[bytes]] = []
    servers: list[NameServer] = []

    def start(port: int, addresses: list[str] | None = None) -> str:
        folder = tmp_path_factory.mktemp("nginx")
        servers.append(NameServer(addresses or ["127.0.0.1"]))
        at = free_port()
        (folder / "nginx.conf").write_text(here(CONF, folder, at, port, servers[-1].port))
        assert NGINX is not None
        command = [
            NGINX,
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            str(folder / "error.log"),
            "-g",
            "daemon off;",
        ]
        started.append(subprocess.Popen(command))

        def listens() -> bool:
            assert started[-1].poll() is None, (folder / "error.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", at)) == 0

        until("nginx listens", listens)
        return f"http://127.0.0.1:{at}"

    yield start
    for process in started:
        process.terminate()
        process.wait(20)
    for server in servers:
        server.close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as server:
        yield server


@pytest.fixture
def url(backend: Backend, proxy: Proxy) -> str:
    return proxy(backend.port)


def check(conf: str, folder: Path) -> None:
    (folder / "nginx.conf").write_text(conf)
    assert NGINX is not None
    done = subprocess.run([NGINX, "-t", "-c", str(folder / "nginx.conf")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.replace('the "user" directive makes sense only', ""), done.stderr


def test_nginx_takes_it_as_it_is(tmp_path: Path) -> None:
    check(CONF, tmp_path)


def test_nginx_takes_it_with_tls(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("images.example.org")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    with_tls = re.sub(r"#tls (.*;|if .*)", r"\1", CONF)
    assert with_tls.count("ssl") > 4
    assert "#tls" not in with_tls
    for name in ("fullchain", "privkey"):
        with_tls = with_tls.replace(f"/tls/{name}.pem", str(tmp_path / "both.pem"))
    check(with_tls, tmp_path)


def test_a_gateway_sees_who_asked_and_by_which_name(url: str, backend: Backend) -> None:
    headers = {"Host": "images.example.org:8443", "X-Forwarded-For": "1.2.3.4", "Authorization": "Bearer k"}
    assert httpx.get(f"{url}/api/models?a=%2F&b", headers=headers, trust_env=False).status_code == 200
    seen = backend.asked[0]
    assert seen.target == "/api/models?a=%2F&b"
    assert seen.headers["host"] == "images.example.org:8443"
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    assert seen.headers["authorization"] == "Bearer k"


@pytest.mark.parametrize(
    "path", ["/metrics", "//metrics", "/metrics/", "/%6detrics", "/x/../metrics", "/./metrics?a"]
)
def test_figures_do_not_get_out(url: str, backend: Backend, path: str) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert line.makefile("rb").readline().split()[1] == b"404"
    assert backend.asked == []


def test_a_link_is_not_in_the_log(
    url: str, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    httpx.get(f"{url}/images/img_1?signature=topsecret", trust_env=False).raise_for_status()
    log = next(
        path
        for path in tmp_path_factory.getbasetemp().glob("nginx*/access.log")
        if "img_1" in path.read_text()
    )
    assert "topsecret" not in log.read_text()


def test_a_post_that_was_sent_is_not_sent_to_another(backend: Backend, proxy: Proxy) -> None:
    backend.wire = "none"
    with Backend("127.0.0.2", backend.port) as other:
        other.wire = "none"
        url = proxy(backend.port, ["127.0.0.1", "127.0.0.2"])
        assert httpx.post(f"{url}/api/images/generate", json={}, trust_env=False).status_code == 502
        assert len(backend.asked) + len(other.asked) == 1
        assert httpx.get(f"{url}/api/models", trust_env=False).status_code == 502
        assert [r.method for r in (*backend.asked, *other.asked)].count("GET") == 2


def test_one_that_is_away_is_passed_over(backend: Backend, proxy: Proxy) -> None:
    url = proxy(backend.port, ["127.0.0.2", "127.0.0.1", "127.0.0.3"])
    with httpx.Client(trust_env=False) as http:
        assert [http.post(f"{url}/api/images/generate", json={}).status_code for _ in range(8)] == [200] * 8
    assert len(backend.asked) == 8


def test_one_that_came_later_is_found(backend: Backend, proxy: Proxy) -> None:
    addresses = ["127.0.0.2"]
    url = proxy(backend.port, addresses)
    with httpx.Client(trust_env=False) as http:
        assert http.get(f"{url}/api/models").status_code == 502
        addresses[:] = ["127.0.0.1"]
        until("the new address is asked for", lambda: http.get(f"{url}/api/models").status_code == 200)


def test_a_large_upload_passes_as_it_comes(proxy: Proxy) -> None:
    """The first bytes reach the gateway before the last ones are sent."""
    came = threading.Event()
    head = b"POST /api/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000000\r\n\r\n"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = proxy(listener.getsockname()[1])

        def read() -> None:
            line, _ = listener.accept()
            got = b""
            with line:
                while b"first bytes" not in got:
                    piece = line.recv(65536)
                    if not piece:
                        return
                    got += piece
                came.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as line:
            line.sendall(head + b"first bytes")
            assert came.wait(20)
        reader.join(20)


async def test_events_come_one_by_one(proxy: Proxy) -> None:
    """The second is sent when the first has arrived: a proxy that kept them back would wait for ever."""
    arrived = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n"
        )
        await writer.drain()
        await arrived.wait()
        writer.write(b"data: 2\n\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = await asyncio.to_thread(proxy, server.sockets[0].getsockname()[1])
    lines = []
    async with (
        asyncio.timeout(30),
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", f"{url}/api/jobs/job_1/events") as stream,
    ):
        async for line in stream.aiter_lines():
            lines.append(line)
            arrived.set()
    server.close()
    assert [line for line in lines if line] == ["data: 1", "data: 2"]
