"""Killed at each step of a job's life, and started again: nothing is lost and nothing is paid twice."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from support.durability import check, settle
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal

from gateway.faults import POINTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Own = Callable[..., GatewayProcess]
PROMPT = "a fox"


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    with LoopbackFal() as server:
        yield server


def body(**more: Any) -> dict[str, Any]:
    return {"model": "flux-dev", "inputs": {"prompt": PROMPT, "size": "128x128", "seed": 7, **more}}


def send(gateway: GatewayProcess, **more: Any) -> list[str]:
    """Ask for a job; its id, if the gateway lived to say it."""
    with suppress(httpx.TransportError):
        answer = gateway.generate(body(**more), Prefer="respond-async")
        assert answer.status_code == 202, answer.text
        return [answer.json()["jobId"]]
    return []


def fails(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    fal.fail("job", "error")
    return send(gateway)


def cancels(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    fal.queued = 10_000
    told = send(gateway)
    fal.wait(lambda: bool(fal.jobs))
    with suppress(httpx.TransportError):
        gateway.http.delete(f"/api/jobs/{told[0]}")
    fal.queued = 1
    return told


def plain(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    return send(gateway)


def several(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    """Six pictures of an endpoint that makes four at once."""
    return send(gateway, n=6)


WAYS: dict[str, Callable[[GatewayProcess, LoopbackFal], list[str]]] = {
    "share": several,
    "fail": fails,
    "cancel": cancels,
}


def killed(gateway: GatewayProcess) -> None:
    """Wait until the process that serves has killed itself, and end what is left of the gateway."""
    process = gateway.process
    assert process is not None
    until("it kills itself", lambda: process.poll() is not None, 60)


@pytest.mark.parametrize("name", POINTS)
def test_killed_at(name: str, own_gateway: Own, fal: LoopbackFal) -> None:
    way = WAYS.get(name.partition(".")[0], plain)
    # No engine: fal makes the pictures.
    gateway = own_gateway(GATEWAY_ENGINE="127.0.0.1:9", FAULTPOINT=name, **fal.env()).start()
    told = way(gateway, fal)
    killed(gateway)
    del gateway.env["FAULTPOINT"]
    gateway.start()
    told += send(gateway)  # it serves
    settled = settle(gateway, fal)
    figures = check(gateway, fal, told)
    print(f"{name}: {figures}, {settled} settled by an operator")
