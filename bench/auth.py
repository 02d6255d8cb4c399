"""What an API key costs a request: its look-up against no look-up, in one run.

The whole application in this process, without a socket; `GET /api/account` on a real database:

    open       GATEWAY_AUTH=open, no key sent
    key        GATEWAY_AUTH=required, a key of an account
    operator   GATEWAY_AUTH=required, the operator's key: compared, not looked up

Rounds alternate; the table has the medians of CPU and wall time a request. Run: python -m bench.auth
"""

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from gateway.accounts.operator import operator_key
from gateway.ambient import Ambient
from gateway.app import create_app
from gateway.lifespan import running
from gateway.settings import load_settings

IN_FLIGHT = 16


async def round_of(http: httpx.AsyncClient, requests: int) -> tuple[float, float]:
    """Milliseconds of CPU and of wall time a request."""
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            (await http.get("/api/account")).raise_for_status()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return (time.process_time() - cpu) / requests * 1e3, (time.perf_counter() - wall) / requests * 1e3


async def clients(stack: AsyncExitStack, folder: Path) -> dict[str, httpx.AsyncClient]:
    """A client for each variant, each with a gateway of its own."""
    made = {}
    for name, auth in (("open", "open"), ("key", "required"), ("operator", "required")):
        data = folder / name
        data.mkdir()
        operator = stack.enter_context(operator_key(data, "", Ambient())).key
        app = create_app(load_settings({"GATEWAY_DATA_DIR": str(data), "GATEWAY_AUTH": auth}))
        await stack.enter_async_context(running(app))
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")
        await stack.enter_async_context(http)
        if name != "open":
            http.headers["Authorization"] = f"Bearer {operator}"
        if name == "key":
            account = (await http.post("/api/admin/accounts", json={"name": "x"})).json()["accountId"]
            key = await http.post(f"/api/admin/accounts/{account}/keys", json={"name": "x"})
            http.headers["Authorization"] = f"Bearer {key.json()['key']}"
        made[name] = http
    return made


async def main(rounds: int, requests: int) -> None:
    """Measure and print."""
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            variants = await clients(stack, Path(folder))
            for http in variants.values():
                await round_of(http, requests // 5)
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
            for _ in range(rounds):
                for name, http in variants.items():
                    found[name].append(await round_of(http, requests))
    base = statistics.median(cpu for cpu, _ in found["open"])
    print(f"{'':10}{'CPU ms':>8}{'ms':>8}{'CPU against open':>18}")
    for name, figures in found.items():
        cpu = statistics.median(c for c, _ in figures)
        wall = statistics.median(w for _, w in figures)
        print(f"{name:10}{cpu:8.2f}{wall:8.2f}{cpu / base:17.2f}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=500)
    asked = parser.parse_args()
    asyncio.run(main(asked.rounds, asked.requests))
