"""fal calls the gateway: what that does, and what a call that is not fal's does not.

The application in this process, on a loopback fal over real sockets. Each test hands fal's signed
calls over itself. Jobs would be looked at once an hour.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.closed_app import litestar
from support.loopback_fal import Job, LoopbackFal
from support.loopback_fal_webhooks import USER, SentCall, signed

from billing import ledger
from gateway import unknown
from gateway.accounts.principals import OPERATOR
from gateway.ambient import Ambient
from gateway.app import create_app
from gateway.core import Core
from gateway.guard import Guard
from gateway.jobs import cadence
from gateway.lifespan import running
from gateway.settings import load_settings

pytestmark = pytest.mark.slow

ON = {"FAL_WEBHOOKS": "on", "FAL_USER_ID": USER}
AT_ONCE = {"GATEWAY_SHUTDOWN_GRACE_S": "0"}
BODY = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}}
Check = tuple[int, str | None]


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "SOONEST_S", 3600.0)
    monkeypatch.setattr(cadence, "LATEST_S", 3600.0)


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    """No job ends by being looked at."""
    with LoopbackFal(queued=10_000) as server:
        yield server
        assert server.violations == []


class World:
    """A gateway, its fal, and what a test does with both."""

    def __init__(self, core: Core, http: httpx.AsyncClient, fal: LoopbackFal, clock: list[int]) -> None:
        self.core, self.http, self.fal, self.clock = core, http, fal, clock

    async def start(self) -> tuple[str, Job]:
        """A job that fal has, and that was looked at once."""
        job_id = (await self.generate()).json()["jobId"]
        (job,) = await self.at_fal(lambda: [job for job in self.fal.jobs if job.looks])
        return job_id, job

    async def unknown(self) -> tuple[str, Job]:
        """A job that fal has, and whose submit got no answer."""
        self.fal.fail("submit", "lost")
        job_id = (await self.generate()).json()["jobId"]
        await self.core.runner.wait(job_id, 20)
        assert await self.status(job_id) == "unknown"
        return job_id, self.fal.jobs[-1]

    async def generate(self) -> httpx.Response:
        answer = await self.http.post("/api/images/generate", json=BODY, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        return answer

    async def at_fal(self, found: Callable[[], Any]) -> Any:
        await asyncio.to_thread(self.fal.wait, lambda: bool(found()))
        return found()

    async def status(self, job_id: str) -> str:
        return str((await self.http.get(f"/api/jobs/{job_id}")).json()["status"])

    async def ended(self, job_id: str) -> dict[str, Any]:
        await self.core.runner.wait(job_id, 20)
        found: dict[str, Any] = (await self.http.get(f"/api/jobs/{job_id}")).json()
        return found

    async def post(self, job: Job, call: SentCall | None = None, *, secret: str | None = None) -> Check:
        """What the gateway answers to a call about a job: the status, and the code of a problem."""
        path = urlsplit(job.webhook or "").path
        if secret is not None:
            path = f"{path.rpartition('/')[0]}/{secret}"
        made = call or self.call(job)
        answer = await self.http.post(path, content=made.body, headers=made.headers)
        return answer.status_code, answer.json()["code"] if answer.content else None

    def call(self, job: Job, *, ago_s: int = 0, **more: Any) -> SentCall:
        at = self.core.ambient.now_ms() / 1000 - ago_s
        return self.fal.caller.call(more.pop("request_id", job.id), at=at, **more)


@asynccontextmanager
async def world_of(folder: Path, fal: LoopbackFal, **env: str) -> AsyncIterator[World]:
    ahead = [0]
    ambient = Ambient(now_ms=lambda: Ambient().now_ms() + 1000 * ahead[0])
    app = create_app(load_settings({"GATEWAY_DATA_DIR": str(folder), **fal.env(), **AT_ONCE, **env}), ambient)
    assert isinstance(app, Guard)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types scopes itself
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        yield World(litestar(app).state.core, http, fal, ahead)


@pytest.fixture
async def world(tmp_path: Path, fal: LoopbackFal) -> AsyncIterator[World]:
    async with world_of(tmp_path, fal, **ON) as found:
        yield found


async def test_a_job_that_ended_is_looked_at_at_once(world: World) -> None:
    job_id, job = await world.start()
    job.finished = True
    assert await world.post(job) == (204, None)
    ended = await world.ended(job_id)
    assert (ended["status"], ended["costMicros"]) == ("completed", 30_000)
    assert job.looks == 2
    # Once more, as fal does when it did not hear our answer.
    assert await world.post(job) == (204, None)
    assert (await world.ended(job_id), job.looks, len(world.fal.jobs)) == (ended, 2, 1)


async def test_a_call_is_not_believed_what_became_of_the_job(world: World) -> None:
    job_id, job = await world.start()
    call = world.call(job, status="ERROR", payload={"images": [{"url": "https://evil.test/a.png"}]})
    assert await world.post(job, call) == (204, None)
    await world.at_fal(lambda: job.looks == 2)
    assert await world.status(job_id) == "running"
    job.finished = True
    assert await world.post(job) == (204, None)
    assert (await world.ended(job_id))["status"] == "completed"


def tampered(world: World, job: Job) -> SentCall:
    made = world.call(job)
    return SentCall(made.headers, made.body.replace(b"OK", b"KO"))


def unsigned(world: World, job: Job) -> SentCall:
    made = world.call(job)
    return SentCall({"content-type": "application/json"}, made.body)


def anybodys(world: World, job: Job) -> SentCall:
    made = world.call(job)
    at = world.core.ambient.now_ms() / 1000
    return SentCall(signed(Ed25519PrivateKey.generate(), made.body, job.id, at=at), made.body)


REFUSED: dict[str, Callable[[World, Job], SentCall]] = {
    "tampered": tampered,
    "unsigned": unsigned,
    "by another key": anybodys,
    "replayed": lambda world, job: world.call(job, ago_s=301),
    "of another account": lambda world, job: world.call(job, user="somebody"),
}


async def test_what_is_not_fals_word_to_us_has_no_effect(world: World) -> None:
    job_id, job = await world.start()
    lost_id, lost = await world.unknown()
    for what, make in REFUSED.items():
        for about in (job, lost):
            assert await world.post(about, make(world, about)) == (403, "bad_webhook"), what
    for about in (job, lost):
        for secret in ("x", "att_x.y", (about.webhook or "").rpartition("/")[2][:-1]):
            assert await world.post(about, secret=secret) == (404, "not_found")
    # A good call at the address of another attempt, or about a request that is not that attempt's.
    assert await world.post(job, world.call(lost)) == (204, None)
    assert await world.post(job, world.call(job, request_id="nobodys")) == (204, None)
    # About an attempt that is gone.
    gone = (world.core.webhooks.address("fal", "att_gone") or "").rpartition("/")[2]
    assert await world.post(job, secret=gone) == (204, None)
    assert (await world.status(job_id), job.looks) == ("running", 1)
    assert (await world.status(lost_id), lost.looks) == ("unknown", 0)


async def test_a_submit_without_an_answer_is_found(world: World) -> None:
    job_id, job = await world.unknown()
    job.finished = True
    assert await world.post(job) == (204, None)
    ended = await world.ended(job_id)
    assert (ended["status"], ended["costMicros"], len(ended["attempts"])) == ("completed", 30_000, 1)
    assert len(world.fal.jobs) == 1
    assert await world.post(job) == (204, None)
    assert await world.ended(job_id) == ended


async def test_many_calls_at_once_find_it_once(world: World) -> None:
    job_id, job = await world.unknown()
    job.finished = True
    answers = await asyncio.gather(*[world.post(job) for _ in range(8)])
    assert set(answers) == {(204, None)}
    ended = await world.ended(job_id)
    assert (ended["status"], len(ended["images"]), len(world.fal.jobs)) == ("completed", 1, 1)
    money = await world.core.db.read(lambda c: ledger.balance(c, OPERATOR))
    assert (money.available_micros, money.held_micros) == (-30_000, 0)


async def test_what_an_operator_ended_stays_ended(world: World) -> None:
    job_id, job = await world.unknown()
    await unknown.fail(world.core, job_id)
    assert await world.post(job) == (204, None)
    assert (await world.ended(job_id))["status"] == "failed"


async def test_without_a_user_id_an_operator_is_told(
    tmp_path: Path, fal: LoopbackFal, caplog: pytest.LogCaptureFixture
) -> None:
    async with world_of(tmp_path, fal, FAL_WEBHOOKS="on") as world:
        job_id, job = await world.start()
        job.finished = True
        assert await world.post(job, world.call(job, user="whoever")) == (204, None)
        assert (await world.ended(job_id))["status"] == "completed"
        lost_id, lost = await world.unknown()
        with caplog.at_level(logging.WARNING, "gateway"):
            assert await world.post(lost) == (204, None)
        assert f"gateway jobs adopt {lost_id} --request-id {lost.id}" in caplog.text
        assert (await world.status(lost_id), lost.looks) == ("unknown", 0)


async def test_while_fals_keys_cannot_be_had_it_is_to_call_again_and_a_new_key_is_found(world: World) -> None:
    job_id, job = await world.start()
    world.fal.fail("jwks", "500")
    assert await world.post(job) == (503, "provider_unavailable")
    assert job.looks == 1
    world.clock[0] += 60
    assert await world.post(job) == (204, None)
    await world.at_fal(lambda: job.looks == 2)
    world.fal.caller.rotate()
    world.clock[0] += 60
    job.finished = True
    assert await world.post(job) == (204, None)
    assert (await world.ended(job_id))["status"] == "completed"
    assert len(world.fal.seen("GET", "/jwks.json")) == 3


async def test_fal_calls_what_the_world_can_reach_and_nothing_else(tmp_path: Path, fal: LoopbackFal) -> None:
    public = {
        "GATEWAY_PUBLIC_URL": "https://images.example.org",
        "GATEWAY_ALLOWED_HOSTS": "images.example.org",
    }
    async with world_of(tmp_path / "public", fal, **public, FAL_USER_ID=USER) as world:
        job_id, job = await world.start()
        assert (job.webhook or "").startswith("https://images.example.org/webhooks/fal/att_")
        job.finished = True
        made = world.call(job)
        answer = await world.http.post(job.webhook or "", content=made.body, headers=made.headers)
        assert answer.status_code == 204
        assert (await world.ended(job_id))["status"] == "completed"
    async with world_of(tmp_path / "local", fal) as world:
        await world.generate()
        await world.at_fal(lambda: len(fal.jobs) == 2)
        assert fal.jobs[-1].webhook is None
