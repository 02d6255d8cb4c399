"""fal calls a gateway on real sockets: a paid job whose submit got no answer is found without an operator."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.loopback_fal_webhooks import USER

pytestmark = pytest.mark.slow

Own = Callable[..., GatewayProcess]
PRICE = 30_000


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    """A loopback fal that calls loopback addresses, and whose jobs end when a test says so."""
    with LoopbackFal(queued=10_000) as server:
        server.caller.calls_loopback = True
        yield server
        assert server.violations == []


@pytest.fixture
def called(own_gateway: Own, fal: LoopbackFal) -> GatewayProcess:
    return own_gateway(**fal.env(), FAL_WEBHOOKS="on", FAL_USER_ID=USER, GATEWAY_LOG_LEVEL="debug").start()


def body(prompt: str) -> dict[str, object]:
    return {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "128x128"}}


def charged(gateway: GatewayProcess, job: dict[str, Any]) -> None:
    assert (job["status"], job["costMicros"], len(job["images"])) == ("completed", PRICE, 1)
    assert [a["status"] for a in job["attempts"]] == ["succeeded"]


def secrets(fal: LoopbackFal) -> list[str]:
    return [job.webhook.rpartition(".")[2] for job in fal.jobs if job.webhook]


def check_log(gateway: GatewayProcess, fal: LoopbackFal) -> None:
    """It tells of requests to fal, and none of the addresses that fal was given."""
    log = gateway.log.read_text()
    assert "HTTP Request: POST" in log or "HTTP Request: GET" in log
    assert [secret for secret in secrets(fal) if secret in log] == []


def test_what_fal_took_is_found_whatever_became_of_its_answer(
    called: GatewayProcess, fal: LoopbackFal
) -> None:
    # The answer is lost, then fal calls.
    fal.fail("submit", "lost")
    lost = called.generate(body("lost")).json()["jobId"]
    assert called.job(lost)["status"] == "unknown"
    assert fal.finish(fal.jobs[0]) == 204
    charged(called, called.ended(lost))
    # fal calls first; then the answer comes, or is lost.
    fal.calls_before_answering = True
    charged(called, called.generate(body("sooner")).json())
    fal.fail("submit", "lost")
    answer = called.generate(body("sooner, and lost"))
    assert answer.status_code == 200, answer.text
    charged(called, answer.json())

    assert fal.caller.answers == [204] * 3
    assert [job.payload["prompt"] for job in fal.jobs] == ["lost", "sooner", "sooner, and lost"]
    called.check_books()
    check_log(called, fal)


def test_so_it_is_by_a_gateway_that_was_killed_meanwhile(called: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("submit", "lost")
    lost = called.generate(body("lost")).json()["jobId"]
    called.kill()
    called.start()
    assert called.job(lost)["status"] == "unknown"
    assert fal.finish(fal.jobs[0]) == 204
    charged(called, called.ended(lost))
    # Killed between fal's call and its answer: the call is all that is known of the job.
    fal.calls_before_answering = True
    fal.fail("submit", "silent")
    cut = called.generate(body("cut"), Prefer="respond-async").json()["jobId"]
    until("fal was answered", lambda: len(fal.caller.answers) == 2)
    called.kill()
    called.start()
    charged(called, called.ended(cut))
    assert fal.caller.answers == [204, 204]
    assert [job.payload["prompt"] for job in fal.jobs] == ["lost", "cut"]
    called.check_books()
    check_log(called, fal)
