"""One request can be followed from its caller through every station to its picture, in a collector of traces."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.gateway_process import GatewayProcess, clean_environment, until
from support.hook_server import HookServer
from support.loopback_fal import LoopbackFal
from support.otlp_collector import OtlpCollector, SentSpan

Own = Callable[..., GatewayProcess]

PROMPT = "a purple lighthouse that no span may tell of"
NO_ENGINE = {"GATEWAY_ENGINE": "127.0.0.1:9"}
ASKED = {"model": "flux-dev", "inputs": {"prompt": PROMPT, "size": "128x128", "seed": 7}}
CALLER = "00f067aa0ba902b7"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture(scope="module")
def shared() -> Iterator[OtlpCollector]:
    with OtlpCollector() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    fal: LoopbackFal, shared: OtlpCollector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that tells `shared` of its spans, for the stories that leave it as it was."""
    more = {
        "OTEL_SERVICE_NAME": "pictures",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20collectors-own",
    }
    folder = tmp_path_factory.mktemp("traced") / "data"
    running = GatewayProcess(folder, **fal.env(), **shared.env(), **NO_ENGINE, **more).start()
    yield running
    running.close()


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as server:
        yield server


@pytest.fixture
def traced(own_gateway: Own, fal: LoopbackFal, collector: OtlpCollector) -> Own:
    """A gateway of the test's own that tells its collector of its spans."""
    return lambda **env: own_gateway(**fal.env(), **collector.env(), **NO_ENGINE, **env)


def of(spans: list[SentSpan], name: str) -> SentSpan:
    (found,) = [span for span in spans if span.name == name]
    return found


def followed(
    collector: OtlpCollector, trace_id: str, last: str = "POST /api/images/generate"
) -> list[SentSpan]:
    """The spans of a trace, once all have come: what ends last comes last."""
    collector.wait(last, where=lambda span: span.trace_id == trace_id)
    collector.wait("settle", where=lambda span: span.trace_id == trace_id)
    job = collector.wait("generate_content flux-dev", where=lambda span: span.trace_id == trace_id)
    assert job.attributes["gateway.job.id"].startswith("job_")
    return collector.of_trace(trace_id)


def test_one_request_is_one_trace_from_its_caller_to_its_picture(
    gateway: GatewayProcess, shared: OtlpCollector, fal: LoopbackFal
) -> None:
    collector = shared
    answer = gateway.generate(ASKED, traceparent=TRACEPARENT, **{"Idempotency-Key": "once"})
    assert answer.status_code == 200, answer.text
    job_id, request_id = answer.json()["jobId"], answer.headers["x-request-id"]
    spans = followed(collector, TRACE)

    assert collector.tree(TRACE, CALLER) == [
        (0, "POST /api/images/generate"),
        (1, "access"),
        (1, "idempotency"),
        (1, "plan"),
        (1, "media"),
        (1, "admit"),
        (1, "generate_content flux-dev"),
        (2, "attempt"),
        (3, "submit"),
        (3, "wait"),
        (3, "store"),
        (2, "settle"),
    ]
    request = of(spans, "POST /api/images/generate")
    assert (request.kind, request.status) == ("server", "unset")
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/images/generate",
        "http.response.status_code": 200,
        "url.path": "/api/images/generate",
        "url.scheme": "http",
        "gateway.request.id": request_id,
        "gateway.account.id": "acc_local_operator",
    }
    asked = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": "fal",
        "gen_ai.request.choice.count": 1,
        "gen_ai.request.seed": 7,
    }
    job = of(spans, "generate_content flux-dev")
    assert job.kind == "internal"
    assert job.attributes == asked | {
        "gen_ai.request.model": "flux-dev",
        "gateway.job.id": job_id,
        "gateway.account.id": "acc_local_operator",
        "gateway.model": "flux-dev",
        "gateway.provider": "fal",
        "gateway.request.id": request_id,
        "gateway.outcome": "completed",
        "gateway.cost_micros": answer.json()["costMicros"],
        "gateway.images": 1,
    }
    attempt, submit = of(spans, "attempt"), of(spans, "submit")
    one = {
        "gateway.job.id": job_id,
        "gateway.model": "flux-dev",
        "gateway.provider": "fal",
        "gateway.endpoint": "fal-ai/flux/dev",
        "gateway.attempt": 1,
        "gateway.attempt.id": attempt.attributes["gateway.attempt.id"],
    }
    assert attempt.attributes == one
    assert submit.kind == "client"
    called = {"gen_ai.request.model": "fal-ai/flux/dev", "gen_ai.response.id": fal.jobs[-1].id}
    assert submit.attributes == one | asked | called
    assert of(spans, "settle").attributes["gateway.outcome"] == "completed"
    assert of(spans, "admit").attributes == {"gateway.job.id": job_id, "gateway.model": "flux-dev"}
    resource = request.resource
    assert (resource["service.name"], resource["telemetry.sdk.language"]) == ("pictures", "python")
    assert resource["service.instance.id"].startswith("ins_")
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer collectors-own"}

    # The provider is not told: its trace is its own.
    assert [name for name in fal.jobs[-1].headers if name.lower() in ("traceparent", "tracestate")] == []
    # What was asked for is nowhere in what was sent, nor a word of an error.
    assert [body for body in collector.bodies if PROMPT.encode() in body] == []
    assert {(span.status_message, span.events) for span in collector.spans} == {("", 0)}
    # The log has the trace beside the request and the job.
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    ours = [line for line in lines if line.get("trace_id") == TRACE]
    assert {line["request_id"] for line in ours} == {request_id}
    assert {line["job_id"] for line in ours if line["logger"] == "gateway.jobs.drive"} == {job_id}


def test_a_job_that_fails_says_so_by_its_code(
    gateway: GatewayProcess, shared: OtlpCollector, fal: LoopbackFal
) -> None:
    collector, trace = shared, "ab" * 16
    fal.fail("job", "nsfw", endpoint="fal-ai/flux/dev")
    answer = gateway.generate(ASKED, traceparent=f"00-{trace}-{CALLER}-01")
    code = answer.json()["code"]
    assert code == "content_policy"
    spans = followed(collector, trace)
    for name in ("generate_content flux-dev", "attempt"):
        span = of(spans, name)
        assert (span.status, span.attributes["error.type"]) == ("error", code), name
    assert of(spans, "generate_content flux-dev").attributes["gateway.outcome"] == "failed"
    # The caller's fault, and none of the gateway's.
    assert of(spans, "POST /api/images/generate").status == "unset"
    assert {(span.status_message, span.events) for span in spans} == {("", 0)}

    # A request that is refused has a trace of its own, and one that nobody takes does not tell its path.
    answer = gateway.generate({"model": "none", "inputs": {}})
    assert answer.status_code == 400
    refused = collector.wait(
        "POST /api/images/generate", where=lambda span: span.attributes["http.response.status_code"] == 400
    )
    assert refused.parent_id == ""
    (plan,) = [span for span in collector.of_trace(refused.trace_id) if span.name == "plan"]
    assert (plan.status, plan.attributes["error.type"]) == ("error", "unknown_model")
    gateway.http.get("/webhooks/other/some-secret-of-a-provider", headers={"traceparent": "00-bad-worse-01"})
    nowhere = collector.wait("GET", where=lambda span: span.attributes["http.response.status_code"] == 404)
    assert "url.path" not in nowhere.attributes
    assert [body for body in collector.bodies if b"some-secret-of-a-provider" in body] == []


@pytest.mark.slow
def test_who_opts_in_sees_the_prompt(traced: Own, collector: OtlpCollector) -> None:
    gateway = traced(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true").start()
    assert gateway.generate(ASKED, traceparent=TRACEPARENT).status_code == 200
    job = of(followed(collector, TRACE), "generate_content flux-dev")
    assert json.loads(job.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    ]
    # There, and in no other span.
    others = [span for span in collector.spans if span is not job and PROMPT in str(span.attributes)]
    assert others == []
    # In no log either.
    assert PROMPT not in gateway.log.read_text()


@pytest.mark.slow
def test_whoever_adopts_a_job_goes_on_with_its_trace(
    traced: Own, collector: OtlpCollector, fal: LoopbackFal
) -> None:
    gateway = traced().start()
    fal.queued = 1_000_000
    prompt = "a lighthouse that another process draws"
    body = ASKED | {"inputs": {"prompt": prompt, "size": "128x128"}}
    answer = gateway.generate(body, traceparent=TRACEPARENT, Prefer="respond-async")
    job_id = answer.json()["jobId"]
    # Its handle was stored before the first look at it.
    fal.wait(lambda: any(job.looks for job in fal.invoices(prompt)))
    request = collector.wait("POST /api/images/generate", where=lambda span: span.trace_id == TRACE)
    gateway.kill()
    fal.queued = 1
    gateway.start()
    assert gateway.ended(job_id)["status"] == "completed"
    job = collector.wait("generate_content flux-dev")
    assert (job.trace_id, job.parent_id) == (TRACE, request.id)
    assert job.attributes["gateway.recovered"] is True
    assert job.attributes["gateway.request.id"] == answer.headers["x-request-id"]
    assert job.resource["service.instance.id"] != request.resource["service.instance.id"]
    # It was submitted before: there is nothing of that here.
    assert [name for _, name in collector.tree(TRACE, job.id)] == ["attempt", "wait", "store", "settle"]


@pytest.mark.slow
def test_telling_of_a_jobs_end_is_in_its_trace(traced: Own, collector: OtlpCollector) -> None:
    with HookServer() as hook:
        gateway = traced(GATEWAY_FETCH_ALLOW=urlsplit(hook.url()).netloc).start()
        made = gateway.http.post("/api/webhooks", json={"url": hook.url()})
        assert made.status_code == 200, made.text
        body = ASKED | {"delivery": {"webhook": {"id": made.json()["id"]}}}
        answer = gateway.generate(body, traceparent=TRACEPARENT)
        assert answer.status_code == 200, answer.text
        told = collector.wait("deliver")
    request = collector.wait("POST /api/images/generate", where=lambda span: span.trace_id == TRACE)
    assert (told.trace_id, told.parent_id, told.kind) == (TRACE, request.id, "client")
    assert told.attributes["gateway.job.id"] == answer.json()["jobId"]
    assert told.attributes["gateway.delivery.kind"] == "webhook"
    assert told.attributes["gateway.delivery.outcome"] == "sent"
    assert [name for name in hook.calls[0].headers if name.lower() == "traceparent"] == []


@pytest.mark.slow
def test_a_run_of_a_template_has_its_steps_inside(traced: Own, collector: OtlpCollector) -> None:
    gateway = traced().start()
    body: dict[str, Any] = {"variables": {"headline": "Open Sunday", "subline": "a market hall"}}
    answer = gateway.http.post(
        "/api/templates/billboard", json=body, headers={"traceparent": TRACEPARENT}, timeout=100
    )
    assert answer.status_code == 200, answer.text
    run = collector.wait("run billboard")
    steps = [span for span in collector.of_trace(TRACE) if span.name.startswith("generate_content ")]
    assert steps
    assert {(run.trace_id, step.parent_id) for step in steps} == {(TRACE, run.id)}
    assert all(step.attributes["gateway.step"] for step in steps)
    assert run.attributes["gateway.template"] == "billboard"
    assert "gen_ai.operation.name" not in run.attributes
    names = [name for _, name in collector.tree(TRACE, run.id)]
    assert names[0] == steps[0].name
    assert names[-3:] == ["compose", "store", "settle"]
    words = [b"Open Sunday", b"market hall"]
    assert [word for word in words for body in collector.bodies if word in body] == []


@pytest.mark.slow
def test_a_collector_that_is_away_costs_no_job_and_no_stop(own_gateway: Own, fal: LoopbackFal) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    gateway = own_gateway(**fal.env(), **NO_ENGINE, **env).start()
    assert gateway.generate(ASKED).status_code == 200
    assert gateway.stop() == 0
    assert "the collector of traces does not take the last spans" in gateway.log.read_text()


def test_a_gateway_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    ended = serve_without(tmp_path, "opentelemetry.sdk", **env)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "pip install 'image-gateway[otel]'" in line
    assert "opentelemetry.sdk" in line


def serve_without(tmp_path: Path, package: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`gateway serve` where a package is not installed."""
    code = f"import sys; sys.modules[{package!r}] = None; from gateway.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "serve"],
        env=clean_environment(GATEWAY_DATA_DIR=str(tmp_path / "data"), **NO_ENGINE, **env),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )


@pytest.mark.slow
def test_batches_that_a_collector_refuses_for_now_come_again(traced: Own, collector: OtlpCollector) -> None:
    collector.answers = [503]
    gateway = traced().start()
    gateway.http.get("/api/models", headers={"traceparent": TRACEPARENT})
    until("it is sent again", lambda: collector.of_trace(TRACE))
