"""A job followed live: `GET /api/jobs/{id}/events`, over HTTP, against a gateway with the embedded model."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from support.gateway_process import GatewayProcess, until
from support.sse import Sse, read_events

from gateway.jobs.events import MOST_STREAMS

pytestmark = pytest.mark.slow

LONG = {"inputs": {"prompt": "a red circle", "size": "512x512", "steps": 50, "n": 4}}
SHORT = {"inputs": {"prompt": "a red circle", "size": "64x64", "steps": 20, "n": 2}}


def start(gateway: GatewayProcess, body: dict) -> str:
    return str(gateway.generate(body, Prefer="respond-async").json()["jobId"])


@contextmanager
def stream(
    gateway: GatewayProcess, job_id: str, last: str | None = None, **query: int
) -> Iterator[tuple[httpx.Response, Iterator[Sse]]]:
    """A job's events. A silence of a minute fails the test."""
    headers = {} if last is None else {"Last-Event-ID": last}
    path = f"/api/jobs/{job_id}/events"
    with gateway.http.stream("GET", path, params=query, headers=headers) as response:
        yield response, read_events(response.iter_lines())


def test_steps_count_up_and_the_end_has_the_pictures(gateway: GatewayProcess) -> None:
    job_id = start(gateway, SHORT)
    with stream(gateway, job_id) as (response, found):
        events = list(found)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert (events[0].name, events[0].data["jobId"]) == ("status", job_id)
    steps = [event.data["step"] for event in events if event.name == "progress" and event.data["step"]]
    assert steps == sorted(set(steps))
    pictures = [event.data for event in events if event.name == "image"]
    assert [one["index"] for one in pictures] == [0, 1]
    assert events[-1].name == "done"
    assert events[-1].data == gateway.job(job_id)
    assert [one["image"]["sha256"] for one in pictures] == [
        one["sha256"] for one in events[-1].data["images"]
    ]
    assert httpx.get(pictures[0]["image"]["url"], trust_env=False).headers["content-type"] == "image/png"


def test_who_comes_back_sees_nothing_twice(gateway: GatewayProcess) -> None:
    job_id = start(gateway, SHORT)
    with stream(gateway, job_id) as (_, found):
        whole = list(found)
    first = next(event for event in whole if event.name == "image")
    with stream(gateway, job_id, first.id) as (_, found):
        rest = list(found)
    assert [event.data["index"] for event in rest if event.name == "image"] == [1]
    assert rest[-1] == whole[-1]
    # Who has seen the end is told that there is no more: an EventSource stays away then.
    with stream(gateway, job_id, rest[-1].id) as (response, _):
        assert response.status_code == 204
    # An id that is none of ours is as good as none.
    with stream(gateway, job_id, "nonsense") as (_, found):
        assert [event.name for event in found].count("image") == 2


def test_how_it_stands_now_and_no_more(gateway: GatewayProcess) -> None:
    job_id = start(gateway, LONG)
    with stream(gateway, job_id, wait=0) as (_, found):
        assert "done" not in [event.name for event in found]
    gateway.http.delete(f"/api/jobs/{job_id}")
    with stream(gateway, job_id, wait=0) as (_, found):
        assert list(found)[-1].data["status"] == "canceled"
    answer = gateway.http.get(f"/api/jobs/{job_id}/events", params={"wait": 3601})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_what_is_not_there(gateway: GatewayProcess) -> None:
    answer = gateway.http.get("/api/jobs/job_none/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_cancel_ends_the_stream_of_a_job_that_runs(gateway: GatewayProcess) -> None:
    job_id = start(gateway, LONG)
    with stream(gateway, job_id) as (_, found):
        running = next(event for event in found if event.name == "progress" and event.data["step"])
        assert running.data["steps"]
        assert gateway.http.delete(f"/api/jobs/{job_id}").json()["status"] == "canceled"
        last = list(found)[-1]
    assert (last.name, last.data["status"], last.data["costMicros"]) == ("done", "canceled", 0)


def test_streams_are_limited_and_those_that_are_left_do_not_count_and_none_holds_a_stop_up(
    own_gateway,
) -> None:
    gateway = own_gateway(GATEWAY_AUTH="required").start()
    key = gateway.done("keys", "create", gateway.done("account", "create", "Ann", "--postpaid"))
    gateway.http.headers["Authorization"] = f"Bearer {key}"
    job_id = start(gateway, SHORT)  # it waits, as those of normal accounts do
    path = f"/api/jobs/{job_id}/events"
    kept: list[httpx.Response] = []
    anything = httpx.Limits(max_connections=None)
    with httpx.Client(
        base_url=gateway.url, headers=gateway.http.headers, limits=anything, trust_env=False
    ) as client:

        def opened() -> httpx.Response:
            return client.send(client.build_request("GET", path), stream=True)

        # Each is left after its first event, as many as may be open at once.
        left = [next(read_events(opened().iter_lines())) for _ in range(MOST_STREAMS)]
        assert {event.data["status"] for event in left} == {"scheduled"}

        def again() -> bool:
            response = opened()
            if response.status_code == 200:
                kept.append(response)
            return len(kept) == MOST_STREAMS

        until("as many can be open again", again)
        refused = client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        gateway.process.terminate()
        told = [[event.name for event in read_events(response.iter_lines())] for response in kept]
        assert gateway.process.wait(30) == 0
    assert {tuple(names) for names in told} == {("status",)}


def test_a_stream_goes_on_after_a_restart(own_gateway) -> None:
    gateway = own_gateway().start()
    job_id = start(gateway, LONG)
    with stream(gateway, job_id) as (_, found):
        seen = next(event for event in found if event.name == "progress" and event.data["step"])
        gateway.process.terminate()
        rest = list(found)
    assert "done" not in [event.name for event in rest]
    assert gateway.process.wait(30) == 0
    gateway.start()
    with stream(gateway, job_id, (rest or [seen])[-1].id) as (_, found):
        events = list(found)
    assert (events[-1].name, events[-1].data["status"]) == ("done", "completed")
    assert sorted(event.data["index"] for event in events if event.name == "image") == [0, 1, 2, 3]
