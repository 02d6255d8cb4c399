"""seeds/003's other half, whole: a normal account's two jobs join the window, run as one group, and are mailed."""

import io
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, until
from support.hook_server import HookServer
from support.mailbox import Mailbox, link_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EMAIL = "ann@example.org"
LOGIN = {"email": EMAIL, "password": "violet hammock tundra 42"}


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture
def gateway(mailbox: Mailbox, hooks: HookServer, tmp_path: Path) -> Iterator[GatewayProcess]:
    running = GatewayProcess(
        tmp_path / "data",
        GATEWAY_AUTH="required",
        GATEWAY_BATCH_WINDOW_S="5",
        GATEWAY_FETCH_ALLOW=hooks.allow,
        **mailbox.env(),
    ).start()
    yield running
    running.check_books()
    running.close()


def signed_up(gateway: GatewayProcess, mailbox: Mailbox) -> httpx.Client:
    """Ann, as she signs up by the link that she is mailed."""
    assert gateway.http.post("/api/auth/signup", json=LOGIN).status_code == 202
    token = link_of(mailbox.to(EMAIL, "Confirm")).partition("#")[2]
    assert gateway.http.post("/api/auth/verify", json={"token": token}).status_code == 200
    token = gateway.http.post("/api/auth/signin", json=LOGIN).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=60, trust_env=False)


def ask(ann: httpx.Client, prompt: str, hook: str) -> dict[str, str]:
    answer = ann.post(
        "/api/images/generate",
        json={
            "model": "embedded-mini",
            "inputs": {"prompt": prompt, "size": "64x64", "steps": 2},
            "delivery": {"email": True, "webhook": {"url": hook}},
        },
    )
    assert answer.status_code == 202, answer.text
    job: dict[str, str] = answer.json()
    assert (job["status"], bool(job["runsAt"])) == ("scheduled", True)
    return job


def mail_of(mailbox: Mailbox, job_id: str) -> EmailMessage | None:
    mails = (mail for mail in mailbox.mails if "picture is ready" in mail["Subject"])
    return next((mail for mail in mails if job_id in mail.get_body(("plain",)).get_content()), None)


def test_two_jobs_wait_run_as_one_and_are_told(
    gateway: GatewayProcess, mailbox: Mailbox, hooks: HookServer
) -> None:
    with signed_up(gateway, mailbox) as ann:

        def pair() -> list[dict[str, str]] | None:
            """Two that wait for the same window: its turn may come between them."""
            jobs = [ask(ann, prompt, hooks.url("/ann")) for prompt in ("a red circle", "a blue square")]
            return jobs if jobs[0]["runsAt"] == jobs[1]["runsAt"] else None

        jobs = until("two jobs of one window", pair)
        webhook_id = jobs[0]["delivery"]["webhookId"]
        secret = ann.get(f"/api/webhooks/{webhook_id}/secret").json()["secret"]
        for job in jobs:
            mail = until("its mail", lambda j=job: mail_of(mailbox, j["jobId"]), 90)
            (part,) = (part for part in mail.walk() if part.get_content_type() == "image/png")
            data = part.get_content()
            assert Image.open(io.BytesIO(data)).size == (64, 64)
            (link,) = re.findall(r"https?://\S+/images/\S+", mail.get_body(("plain",)).get_content())
            assert gateway.http.get(link).content == data
        ids = {job["jobId"] for job in jobs}
        told = until(
            "both calls",
            lambda: (
                [
                    said
                    for said in (call.verified(secret) for call in hooks.calls)
                    if said["data"]["jobId"] in ids
                ]
                if len(hooks.calls) >= len(gateway.query("select 1 from job"))
                else None
            ),
        )
        assert {said["data"]["jobId"] for said in told} == ids
        assert {said["type"] for said in told} == {"job.completed"}
    quoted = ", ".join(f"'{job_id}'" for job_id in sorted(ids))
    batches = gateway.query(
        f"select batch.jobs from batch where id in (select batch_id from job where id in ({quoted}))"
    )
    assert batches == [(2,)]
    assert "2 jobs share a call" in (gateway.data_dir / "engine.log").read_text()
