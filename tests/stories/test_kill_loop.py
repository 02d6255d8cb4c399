"""Two minutes of SIGKILLs under load: every job that was let in ends, is billed once and charged once."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from random import Random

import httpx
import pytest
from support.durability import check, settle
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.every_database]

FOR_S = 120
CLIENTS = 4


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    with LoopbackFal() as server:
        yield server


class Load:
    """Clients that ask for one job after the other until the gateway is gone."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.told: list[str] = []
        self.refused: list[str] = []
        self.numbers = itertools.count()

    def run(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _client(self) -> None:
        with httpx.Client(base_url=self.gateway.url, timeout=30, trust_env=False) as http:
            while True:
                prompt = f"fox {next(self.numbers)}"
                body = {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "64x64"}}
                try:
                    answer = http.post("/api/images/generate", json=body, headers={"Prefer": "respond-async"})
                except httpx.TransportError:
                    return
                if answer.status_code == 202:
                    self.told.append(answer.json()["jobId"])
                else:
                    self.refused.append(answer.text)


def test_two_minutes_of_kills(
    own_gateway: Callable[..., GatewayProcess],
    fal: LoopbackFal,
    database_env: dict[str, str],
    figures: Callable[[str], None],
) -> None:
    rng = Random(1)
    gateway = own_gateway(GATEWAY_ENGINE="127.0.0.1:9", **fal.env(), **database_env)
    load, kills, starts = Load(gateway), 0, []
    ends = time.monotonic() + FOR_S
    while time.monotonic() < ends:
        began = time.monotonic()
        gateway.start()
        starts.append(time.monotonic() - began)
        clients = load.run()
        clients[0].join(rng.uniform(0.2, 0.8))
        gateway.kill()
        kills += 1
        for client in clients:
            client.join()
    gateway.start()
    settled = settle(gateway, fal, seconds=240)
    counts = check(gateway, fal, load.told)
    assert load.refused == []
    assert counts["acknowledged"] > kills
    figures(f"{kills} kills: {counts}, {settled} settled by an operator, slowest start {max(starts):.1f} s")
