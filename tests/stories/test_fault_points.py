"""Killed at each step of a job's life, and started again: nothing is lost and nothing is paid twice."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.durability import check, settle
from support.gateway_process import GatewayProcess, until
from support.hook_server import HookServer
from support.loopback_fal import LoopbackFal
from support.template_folder import write_template

from gateway.faults import POINTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.every_database]

POSTER = """\
title: Poster
description: A scene with words on it
variables: {headline: {type: string, required: true, about: Words}}
sample: {headline: Hello}
steps: [{name: scene, do: generate, use: [{model: flux-dev}], inputs: {size: 128x128, seed: 7}}]
outputs: [{name: wide, width: 240, height: 80}, {name: tall, width: 90, height: 200}]
"""
Own = Callable[..., GatewayProcess]
PROMPT = "a fox"


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    with LoopbackFal() as server:
        yield server


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


def send(gateway: GatewayProcess, n: int = 1, **more: Any) -> list[str]:
    """Ask for a job; its id, if the gateway lived to say it."""
    inputs = {"prompt": PROMPT, "size": "128x128", "seed": 7, "n": n}
    with suppress(httpx.TransportError):
        answer = gateway.generate({"model": "flux-dev", "inputs": inputs, **more}, Prefer="respond-async")
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


def told_by_webhook(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    return send(gateway, delivery={"webhook": {"url": gateway.env["HOOK_URL"]}})


def in_a_window(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    return [*send(gateway, schedule="window"), *send(gateway, schedule="window")]


def of_a_template(gateway: GatewayProcess, fal: LoopbackFal) -> list[str]:
    with suppress(httpx.TransportError):
        answer = gateway.http.post(
            "/api/templates/poster",
            json={"variables": {"headline": PROMPT}},
            headers={"Prefer": "respond-async"},
        )
        assert answer.status_code == 202, answer.text
        return [answer.json()["jobId"]]
    return []


WAYS: dict[str, Callable[[GatewayProcess, LoopbackFal], list[str]]] = {
    "share": several,
    "fail": fails,
    "cancel": cancels,
    "delivery": told_by_webhook,
    "window": in_a_window,
    "run": of_a_template,
}


def killed(gateway: GatewayProcess) -> None:
    """Wait until the process that serves has killed itself, and end what is left of the gateway."""
    process = gateway.process
    assert process is not None
    until("it kills itself", lambda: process.poll() is not None, 60)


@pytest.mark.parametrize("name", POINTS)
def test_killed_at(
    name: str,
    own_gateway: Own,
    fal: LoopbackFal,
    hooks: HookServer,
    database_env: dict[str, str],
    figures: Callable[[str], None],
    tmp_path: Path,
) -> None:
    write_template(tmp_path / "mine", "poster", POSTER, prompt="{{ headline }}")
    way = WAYS.get(name.partition(".")[0], plain)
    gateway = own_gateway(
        **fal.env(),
        **database_env,
        GATEWAY_ENGINE="127.0.0.1:9",  # none: fal makes the pictures
        GATEWAY_BATCH_WINDOW_S="1",
        GATEWAY_FETCH_ALLOW=hooks.allow,
        GATEWAY_TEMPLATES_DIR=str(tmp_path / "mine"),
        HOOK_URL=hooks.url("/ended"),
        FAULTPOINT=name,
    ).start()
    told = way(gateway, fal)
    killed(gateway)
    del gateway.env["FAULTPOINT"]
    # What was claimed by a process that died is due again after two minutes: now.
    gateway.change("update outbox set due_at = 0")
    gateway.start()
    told += send(gateway)  # it serves
    settled = settle(gateway, fal)
    counts = check(gateway, fal, told)
    if way is told_by_webhook:
        # Once, or a second time where nobody knows that the first got through; always under the same id.
        until("the end is told", lambda: gateway.query("select 1 from outbox where sent_at is not null"))
        assert len({call.id for call in hooks.calls}) == 1
        assert len(hooks.calls) == (2 if name == "delivery.tried" else 1)
    figures(f"{counts}, {settled} settled by an operator")
