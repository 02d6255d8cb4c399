"""Plain httpx against the client of `providers/http.py`, on loopback: `python bench/http_client.py`.

The server is a process of its own. Both clients run in one process, turn about, and each figure
is a median over the rounds, so that a busy neighbour hurts both alike. Read the ratio.
"""

import asyncio
import multiprocessing
import resource
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from providers.http import create_client

BODY = b'{"prompt": "' + b"x" * 280 + b'"}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
IN_FLIGHT = {1: 600, 64: 2000, 512: 2000}  # requests a round
ROUNDS = 7


class Round(NamedTuple):
    per_second: float
    cpu_us: float
    """User and system time of this process, per request."""


class Server(asyncio.Protocol):
    """Answers when the last byte of the body is in; requests on a connection come one by one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.endswith(BODY):
            self.buffer = b""
            self.transport.write(REPLY)  # type: ignore[attr-defined]  # a socket's transport writes


def serve(port: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def one_round(client: httpx.AsyncClient, url: str, in_flight: int, requests: int) -> Round:
    left = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            (await client.post(url, content=BODY)).raise_for_status()

    cpu, clock = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    seconds, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return Round(requests / seconds, spent / requests * 1e6)


async def compare(url: str) -> None:
    plain = httpx.AsyncClient(
        timeout=60, trust_env=False, limits=httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    )
    async with plain, create_client() as ours:
        clients = [plain, ours]
        print("| in flight | httpx req/s | ours req/s | ratio | httpx CPU us | ours CPU us |")
        print("|---|---|---|---|---|---|")
        for in_flight, requests in IN_FLIGHT.items():
            rounds: dict[httpx.AsyncClient, list[Round]] = {client: [] for client in clients}
            for turn in range(ROUNDS + 1):
                for client in clients[:: 1 if turn % 2 else -1]:
                    figures = await one_round(client, url, in_flight, requests)
                    if turn:  # the first opens the connections
                        rounds[client].append(figures)
            old, new = (median(rounds[client]) for client in clients)
            print(
                f"| {in_flight} | {old.per_second:.0f} | {new.per_second:.0f} "
                f"| {new.per_second / old.per_second:.2f} | {old.cpu_us:.0f} | {new.cpu_us:.0f} |"
            )


def median(rounds: list[Round]) -> Round:
    return Round(statistics.median(r.per_second for r in rounds), statistics.median(r.cpu_us for r in rounds))


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        asyncio.run(compare(f"http://127.0.0.1:{ours.recv()}/"))
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
