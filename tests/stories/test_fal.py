"""fal: real jobs, paid once. A gateway with a key, against a loopback fal with its own invoices."""

import io
import time
from collections.abc import Callable

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.sse import read_events

pytestmark = pytest.mark.slow

Own = Callable[..., GatewayProcess]
BODY = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "256x192", "seed": 7}}


def body(prompt: str, model: str = "flux-dev", **inputs: object) -> dict[str, object]:
    return {"model": model, "inputs": {"prompt": prompt, "size": "128x128", **inputs}}


def captures(gateway: GatewayProcess) -> int:
    return int(gateway.query("select count(*) from hold where status = 'captured'")[0][0])


def test_a_paid_image_its_cost_and_one_invoice(paid: GatewayProcess, fal: LoopbackFal) -> None:
    answer = paid.generate(BODY)
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (job["provider"], job["cost"], job["costMicros"]) == ("fal", 0.03, 30_000)
    assert [(a["status"], a["endpoint"]) for a in job["attempts"]] == [("succeeded", "fal-ai/flux/dev")]
    picture = Image.open(io.BytesIO(paid.http.get(job["imageUrl"]).content))
    assert picture.size == (256, 192)
    (invoice,) = fal.invoices("a fox")
    assert invoice.payload["image_size"] == {"width": 256, "height": 192}
    assert invoice.payload["seed"] == 7
    assert paid.query("select provider_cost_micros from attempt where status = 'succeeded'")[-1] == (25_000,)


def test_several_images_are_priced_each(paid: GatewayProcess) -> None:
    job = paid.generate(body("three", num_images=3)).json()
    assert (len(job["images"]), job["cost"]) == (3, 0.09)


def test_the_log_of_a_job_is_told_live(paid: GatewayProcess, fal: LoopbackFal) -> None:
    job_id = paid.generate(body("told live"), Prefer="respond-async").json()["jobId"]
    with paid.http.stream("GET", f"/api/jobs/{job_id}/events") as response:
        events = list(read_events(response.iter_lines()))
    assert (events[-1].name, events[-1].data["status"]) == ("done", "completed")
    lines = [line for event in events if event.name == "log" for line in event.data["lines"]]
    assert lines == [
        f"look {number}" for number in range(fal.queued + 1, fal.invoices("told live")[0].looks + 1)
    ]


def test_an_intent_goes_to_the_best_that_has_a_key(paid: GatewayProcess, fal: LoopbackFal) -> None:
    job = paid.generate({"intent": "realistic", "inputs": {"prompt": "by intent", "size": "128x128"}}).json()
    assert (job["model"], job["routing"]["rule"]) == ("flux-pro", "intent")
    assert fal.invoices("by intent")[0].endpoint == "fal-ai/flux-pro/v1.1"


# how the job ends at fal -> status, code of the problem
ENDINGS = [
    ("error", 502, "provider_failed"),
    ("nsfw", 422, "content_policy"),
    ("policy", 422, "content_policy"),
    ("bad_request", 422, "provider_rejected_request"),
    ("no_images", 502, "provider_bad_response"),
    ("null_images", 502, "provider_bad_response"),
    ("result_html", 502, "provider_bad_response"),
    ("image_html", 502, "provider_bad_response"),
    ("image_truncated", 502, "provider_bad_response"),
    ("image_svg", 502, "provider_bad_response"),
    ("image_bomb", 502, "provider_bad_response"),
    ("expired", 502, "provider_output_fetch_failed"),
]


@pytest.mark.parametrize(("kind", "status", "code"), ENDINGS, ids=[e[0] for e in ENDINGS])
def test_a_job_that_ends_badly_costs_nothing(
    paid: GatewayProcess, fal: LoopbackFal, kind: str, status: int, code: str
) -> None:
    before = captures(paid)
    prompt = f"ends {kind}"
    fal.fail("job", kind)
    answer = paid.generate(body(prompt))
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    job = paid.job(answer.json()["jobId"])
    assert (job["status"], job["costMicros"]) == ("failed", 0)
    assert len(fal.invoices(prompt)) == 1
    assert captures(paid) == before


def test_a_picture_of_another_size_is_charged_as_it_is_and_said(
    paid: GatewayProcess, fal: LoopbackFal
) -> None:
    fal.fail("job", "image_other_size")
    job = paid.generate(body("other size")).json()
    assert job["status"] == "completed"
    assert (job["images"][0]["width"], job["images"][0]["height"]) != (128, 128)
    assert job["cost"] <= job["quote"]["cost"]
    assert any("128x128" in warning for warning in job["warnings"])


def test_cancel_reaches_fal(own_gateway: Own) -> None:
    with LoopbackFal(queued=10_000) as fal:
        gateway = own_gateway(**fal.env()).start()
        job_id = gateway.generate(body("cancel me"), Prefer="respond-async").json()["jobId"]
        until("it waits at fal", lambda: (gateway.job(job_id)["progress"] or {}).get("phase") == "queued")
        job = gateway.http.delete(f"/api/jobs/{job_id}").json()
        until("it is over", lambda: gateway.job(job_id)["status"] == "canceled")
        assert fal.jobs[0].canceled
        assert gateway.job(job_id)["costMicros"] == 0, job
        gateway.check_books()


def test_a_job_that_hangs_at_fal_ends_at_its_deadline(own_gateway: Own) -> None:
    with LoopbackFal(queued=10_000) as fal:
        gateway = own_gateway(**fal.env(), GATEWAY_JOB_TIMEOUT_S="3").start()
        started = time.monotonic()
        answer = gateway.generate(body("stuck"))
        assert (answer.status_code, answer.json()["code"]) == (504, "provider_timeout")
        assert time.monotonic() - started < 15
        assert fal.jobs[0].canceled
        gateway.check_books()


def test_ten_jobs_in_fals_queue_survive_a_kill(own_gateway: Own) -> None:
    with LoopbackFal(queued=10_000) as fal:
        gateway = own_gateway(**fal.env()).start()
        ids = [gateway.generate(body(f"job {n}"), Prefer="respond-async").json()["jobId"] for n in range(10)]
        fal.wait(lambda: len(fal.jobs) == 10 and all(job.looks for job in fal.jobs))
        gateway.kill()
        fal.queued = 0
        gateway.start()
        ended = [gateway.ended(job_id) for job_id in ids]
        assert {job["status"] for job in ended} == {"completed"}
        assert all(len(job["attempts"]) == 1 for job in ended)
        assert len(fal.jobs) == 10
        assert captures(gateway) == 10
        gateway.check_books()
