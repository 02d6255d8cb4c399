"""What callers see of rows and registry entries."""

import msgspec
import pytest
from support.scripted_provider import SCRIPTED_TYPES
from support.small_registry import small_catalog

from gateway.jobs.live import Live
from gateway.jobs.records import Admitted, AttemptRow, ImageRow, JobRow, Progress
from gateway.planning import make_plan
from gateway.schemas import GenerateRequest, ProgressView, RoutingView, json_response
from gateway.views import admin_job_view, estimate_view, job_view, model_view
from providers.base import Handle
from providers.discovery import Providers

CATALOG = small_catalog()
URL = "https://gate.test"
CANDIDATE = make_plan(
    CATALOG,
    Providers(CATALOG.data.providers, {}, "", SCRIPTED_TYPES),
    GenerateRequest(model="solo", inputs={"prompt": "x"}),
    fresh_seed=3,
).candidates[0]
RUNNING = JobRow(
    id="job_1", account_id="ann", end_user="u", status="running", model="solo", provider="first",
    registry_version="abc",
    admitted=Admitted(inputs={}, options={}, candidates=(CANDIDATE,)),
    report=(), warnings=("w",),
    routing=RoutingView(rule="model", why="named", requested="solo", passed_over=()),
    quote_micros=30_000, ceiling_micros=45_000, charge_micros=None, error_code=None, error_message=None,
    error_status=None, cancel_requested=False, deadline_at=9, created_at=1_763_683_200_000, completed_at=None,
    attempts=(AttemptRow(id="att_1", number=1, route_index=0, call_index=0, provider="first", endpoint="first/make",
                         status="accepted", handle=None, error_code=None, error_message=None, run_seconds=None, revised_prompt=None,
                         started_at=1_763_683_200_001, ended_at=None),),
    images=(),
)  # fmt: skip
IMAGE = ImageRow(id="img_1", position=0, storage_key="images/img_1.png", content_type="image/png", width=64, height=48,
                 byte_size=9, sha256="ab", seed=7)  # fmt: skip
COMPLETED = msgspec.structs.replace(
    RUNNING, status="completed", charge_micros=30_000, completed_at=1_763_683_201_500, images=(IMAGE,)
)
FAILED = msgspec.structs.replace(
    RUNNING,
    status="failed",
    charge_micros=0,
    completed_at=2,
    error_code="provider_failed",
    error_message="It broke.",
)


def wire(struct: msgspec.Struct) -> dict:
    return msgspec.json.decode(json_response(struct).content)


@pytest.fixture
def providers(tmp_path) -> Providers:
    return Providers(CATALOG.data.providers, {}, str(tmp_path), SCRIPTED_TYPES)


def test_an_admin_sees_what_a_job_cost() -> None:
    first = msgspec.structs.replace(
        COMPLETED.attempts[0],
        status="succeeded",
        handle=Handle(provider="first", remote_id="r1"),
        provider_cost_micros=26_000,
        listed_cost_micros=25_000,
        billable_units="1.50",
    )
    second = msgspec.structs.replace(first, id="att_2", provider_cost_micros=1_000, listed_cost_micros=None)
    lost = msgspec.structs.replace(COMPLETED.attempts[0], id="att_3", status="failed")
    job = msgspec.structs.replace(COMPLETED, attempts=(first, second, lost))
    seen = wire(admin_job_view(job_view(job, None, str), job))
    assert (seen["accountId"], seen["costMicros"], seen["quote"]["costMicros"]) == ("ann", 30_000, 30_000)
    assert (seen["providerCost"], seen["providerCostMicros"]) == (0.027, 27_000)
    assert (seen["listedCost"], seen["listedCostMicros"]) == (
        0.026,
        26_000,
    )  # as billed where it is not known
    assert (seen["margin"], seen["marginMicros"], seen["billableUnits"]) == (0.003, 3_000, 3.0)
    assert [
        (a["attemptId"], a["requestId"], a["providerCostMicros"], a["listedCostMicros"], a["billableUnits"])
        for a in seen["attempts"]
    ] == [
        ("att_1", "r1", 26_000, 25_000, "1.50"),
        ("att_2", "r1", 1_000, 1_000, "1.50"),
        ("att_3", None, None, None, None),
    ]


def test_of_a_job_that_runs_nothing_is_known_yet() -> None:
    seen = wire(admin_job_view(job_view(RUNNING, None, str), RUNNING))
    assert (seen["providerCostMicros"], seen["margin"], seen["marginMicros"], seen["billableUnits"]) == (
        0,
        None,
        None,
        None,
    )


def test_its_owner_sees_nothing_of_that() -> None:
    seen = wire(job_view(COMPLETED, None, str))
    assert not {"providerCost", "listedCost", "margin", "billableUnits", "accountId"} & seen.keys()
    assert not {"attemptId", "requestId", "providerCostMicros"} & seen["attempts"][0].keys()


def test_a_completed_job_is_the_contract() -> None:
    body = wire(job_view(COMPLETED, None, lambda image_id: f"{URL}/images/{image_id}"))
    assert {
        "jobId", "status", "model", "provider", "imageUrl", "images", "cost", "costMicros", "currency", "report",
        "attempts", "warnings", "createdAt", "completedAt",
    } <= body.keys()  # fmt: skip
    assert (body["cost"], body["costMicros"], body["currency"]) == (0.03, 30_000, "USD")
    assert body["imageUrl"] == body["images"][0]["url"] == f"{URL}/images/img_1"
    assert set(body["images"][0]) == {"id", "url", "width", "height", "contentType", "seed", "sha256", "name"}
    assert (body["createdAt"], body["completedAt"]) == (
        "2025-11-21T00:00:00.000Z",
        "2025-11-21T00:00:01.500Z",
    )
    assert body["userId"] == "u"


def test_money_is_a_number_with_its_own_digits() -> None:
    assert (
        b'"cost":0.03,'
        in json_response(job_view(COMPLETED, None, lambda image_id: f"{URL}/images/{image_id}")).content
    )


def test_a_running_job_shows_its_progress() -> None:
    live = Live()
    live.show(ProgressView(phase="denoise", step=2, steps=9))
    view = job_view(RUNNING, live, lambda image_id: f"{URL}/images/{image_id}")
    assert (view.status, view.progress.step, view.cost, view.image_url) == ("running", 2, None, None)


def test_storing_shows_only_until_the_end() -> None:
    live = Live()
    live.status = "storing"
    assert job_view(RUNNING, live, lambda image_id: f"{URL}/images/{image_id}").status == "storing"
    assert job_view(COMPLETED, live, lambda image_id: f"{URL}/images/{image_id}").status == "completed"
    assert job_view(COMPLETED, live, lambda image_id: f"{URL}/images/{image_id}").progress is None


def test_a_failed_job_says_why() -> None:
    view = job_view(FAILED, None, lambda image_id: f"{URL}/images/{image_id}")
    assert (view.error.code, view.error.message, view.cost_micros) == ("provider_failed", "It broke.", 0)


def test_nothing_of_our_insides_is_shown() -> None:
    text = json_response(
        job_view(COMPLETED, None, lambda image_id: f"{URL}/images/{image_id}")
    ).content.decode()
    for hidden in ("storageKey", "storage_key", "accountId", "handle", "deadline", "providerCost"):
        assert hidden not in text


def test_an_estimate(providers) -> None:
    inputs = {"prompt": "x", "image_url": "https://a.test/i.png"}
    request = GenerateRequest(model="edit", inputs=inputs)
    body = wire(estimate_view(make_plan(CATALOG, providers, request, fresh_seed=3)))
    assert body["payload"]["image_url"] == "https://a.test/i.png"
    assert (body["cost"], body["costMicros"], body["available"]) == (0.03, 30_000, True)
    assert {row["name"] for row in body["report"]} >= {"prompt", "image_url", "seed"}


def test_a_model(providers) -> None:
    body = wire(model_view(CATALOG.model("two"), CATALOG.vocabulary, providers))
    assert {
        "id", "aliases", "provider", "status", "available", "tasks", "inputs", "parameters", "price",
    } <= body.keys()  # fmt: skip
    assert body["price"] == {"per_image": 0.03, "round": "up", "currency": "USD"}
    assert body["inputs"]["required"] == ["prompt"]
    assert [route["provider"] for route in body["routes"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("name", "available", "reason"),
    [("solo", True, None), ("gone", False, "it is retired"), ("org/keyed", False, "SCRIPT_KEY")],
)
def test_what_can_be_used_now(providers, name, available, reason) -> None:
    view = model_view(CATALOG.model(name), CATALOG.vocabulary, providers)
    assert view.available is available
    assert view.unavailable_because is None if reason is None else reason in view.unavailable_because


def test_of_a_job_that_another_process_runs_the_stored_progress_shows() -> None:
    told = Progress(status="storing", shown=ProgressView(step=9, steps=9))
    there = msgspec.structs.replace(RUNNING, progress=told)
    view = job_view(there, None, str)
    assert (view.status, view.progress) == ("storing", told.shown)
    # What this process knows is newer; before it knows anything, the stored one is all there is.
    live = Live()
    assert job_view(there, live, str).progress == told.shown
    live.show(ProgressView(step=1, steps=9))
    assert (job_view(there, live, str).status, job_view(there, live, str).progress.step) == ("running", 1)
    unknown = msgspec.structs.replace(there, status="unknown")
    assert job_view(unknown, None, str).status == "unknown"
