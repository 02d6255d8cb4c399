"""What makes spans, without a gateway around it."""

import asyncio
import importlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.otlp_collector import OtlpCollector

from gateway.jobs.records import decode_admitted
from gateway.observe import genai
from gateway.observe.tracing import NO_SPAN, OFF, Tracing, TracingError, check_tracing, open_tracing
from gateway.problems import Problem
from providers.errors import ContentRejected
from registry.errors import UnknownModel


@pytest.fixture(autouse=True)
def no_blocking_calls() -> None:
    """Not looked for here: the exporter's queue has a lock, which is held for a moment."""


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as server:
        yield server


def opened(collector: OtlpCollector, **env: str) -> Tracing:
    return open_tracing({**collector.env(), **env}, version="1", instance="ins_1")


def test_where_nobody_looks_nothing_is_made() -> None:
    assert open_tracing({}, version="1", instance="i") is OFF
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}
    assert open_tracing(off, version="1", instance="i") is OFF
    assert OFF.span("any", {"a": 1}) is NO_SPAN
    assert (OFF.traceparent(), OFF.current(), OFF.on) == (None, NO_SPAN, False)
    with OFF.span("any") as span:
        span.set("a", 1)
        span.rename("b")
        span.fail("c")
    assert span.trace_id is None


def test_opentelemetry_is_not_loaded_for_nothing() -> None:
    code = "import sys, gateway.app; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "http://collector:4318"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        ),
    ],
)
def test_a_collector_that_cannot_be_spoken_to(env: dict[str, str], said: str) -> None:
    with pytest.raises(TracingError, match=said):
        check_tracing(env)


async def test_the_traces_own_endpoint_counts_more(collector: OtlpCollector) -> None:
    env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces"}
    tracing = opened(collector, **env, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    with tracing.span("here"):
        pass
    await tracing.aclose(10)
    assert [span.name for span in collector.spans] == ["here"]


async def test_two_of_a_process_do_not_mix(collector: OtlpCollector) -> None:
    with OtlpCollector() as other:
        one, two = opened(collector), opened(other)
        with one.span("one"):
            pass
        with two.span("two"):
            pass
        await asyncio.gather(one.aclose(10), two.aclose(10))
        assert [span.name for span in collector.spans] == ["one"]
        assert [span.name for span in other.spans] == ["two"]


async def test_a_span_is_inside_the_one_that_is_named(collector: OtlpCollector) -> None:
    tracing = opened(collector)
    with tracing.span("request") as request:
        parent = tracing.traceparent()
        assert parent is not None
        assert parent.split("-")[1] == request.trace_id
    with tracing.span("job", parent=parent), tracing.span("attempt"):
        pass
    with tracing.span("nonsense", parent="00-xyz-1-01"):
        pass
    await tracing.aclose(10)
    by_name = {span.name: span for span in collector.spans}
    assert collector.parent(by_name["job"]) == by_name["request"]
    assert collector.parent(by_name["attempt"]) == by_name["job"]
    assert by_name["nonsense"].parent_id == ""
    assert tracing.traceparent() is None


async def test_who_is_not_sampled_is_not_sent_wherever_it_goes_on(collector: OtlpCollector) -> None:
    tracing = opened(collector)
    not_sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    with tracing.span("request", parent=not_sampled):
        parent = tracing.traceparent()
    assert parent is not None
    assert parent.endswith("-00")
    with tracing.span("job", parent=parent), tracing.span("attempt"):
        pass
    await tracing.aclose(10)
    assert collector.spans == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContentRejected("a secret prompt", provider="fal"), "content_policy"),
        (Problem("not_found", "a secret prompt"), "not_found"),
        (UnknownModel("a secret prompt", (), ()), "unknown_model"),
        (ZeroDivisionError("a secret prompt"), "ZeroDivisionError"),
    ],
)
async def test_an_error_is_told_by_its_code_and_never_by_its_words(
    collector: OtlpCollector, error: Exception, code: str
) -> None:
    tracing = opened(collector)
    with pytest.raises(type(error)), tracing.span("station"):
        raise error
    await tracing.aclose(10)
    (span,) = collector.spans
    assert (span.status, span.status_message, span.events) == ("error", "", 0)
    assert span.attributes == {"error.type": code}
    assert [body for body in collector.bodies if b"secret" in body] == []


async def test_what_a_stop_cuts_off_is_no_error(collector: OtlpCollector) -> None:
    tracing = opened(collector)
    begun = asyncio.Event()

    async def work() -> None:
        with tracing.span("station"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await tracing.aclose(10)
    (span,) = collector.spans
    assert (span.status, span.attributes) == ("unset", {"gateway.interrupted": True})


async def test_a_collector_that_is_away_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    tracing = open_tracing(env, version="1", instance="i")
    with tracing.span("lost"):
        pass
    with caplog.at_level(logging.WARNING):
        # The SDK itself would try for ten seconds, and wait thirty.
        async with asyncio.timeout(8):
            await tracing.aclose(0.2)
    assert "does not take the last spans" in caplog.text


def test_the_names_are_the_conventions_own() -> None:
    package = "opentelemetry.semconv"
    modules = [
        importlib.import_module(f"{package}.{name}")
        for name in (
            "_incubating.attributes.gen_ai_attributes",
            "attributes.http_attributes",
            "attributes.url_attributes",
            "attributes.error_attributes",
        )
    ]
    theirs = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    ours: dict[str, Any] = {
        name: value
        for name, value in vars(genai).items()
        if name.isupper() and isinstance(value, str) and "." in value and not value.startswith("gateway.")
    }
    assert len(ours) > 10
    assert set(ours.values()) <= theirs
    (operations,) = [
        one for one in vars(modules[0]).values() if getattr(one, "__name__", "") == "GenAiOperationNameValues"
    ]
    assert genai.GENERATE in {one.value for one in operations}


def test_a_job_of_before_can_still_be_read() -> None:
    stored = '{"inputs":{"prompt":"x"},"options":{},"candidates":[],"schedule":null,"cost_now_micros":null,"run":null}'
    admitted = decode_admitted(stored)
    assert (admitted.request_id, admitted.traceparent) == (None, None)
