"""What an operator sees at `/metrics`: jobs, money and deliveries, whatever process did them, and after a restart."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from support.gateway_process import GatewayProcess, until
from support.hook_server import HookServer, status
from support.loopback_fal import LoopbackFal
from support.scraped import OPEN_METRICS, Scraped

from gateway.observe.names import NAMES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOKEN = "story-token-0123456789"
ASK = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}}
SMALL = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "size": "64x64", "steps": 2}}
FLUX = {"model": "flux-dev", "provider": "fal"}


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


def scrape(gateway: GatewayProcess, accept: str = OPEN_METRICS) -> Scraped:
    # A connection of its own: with several processes any of them may answer.
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
    answer = httpx.get(f"{gateway.url}/metrics", headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text, answer.headers["content-type"])


def shows(gateway: GatewayProcess, what: str, condition: Callable[[Scraped], bool]) -> Scraped:
    """The first scrape of which something is true: figures of the database are up to 10 seconds old."""

    def look() -> Scraped | None:
        found = scrape(gateway)
        return found if condition(found) else None

    found: Scraped = until(what, look, 60)
    return found


def ledger(gateway: GatewayProcess, kind: str, side: str) -> int:
    """What was moved to one side of the ledger."""
    query = "select coalesce(sum(amount_micros), 0) from ledger_entry where kind = '{}' and ledger_account like '{}%'"
    ((found,),) = gateway.query(query.format(kind, side))
    return int(found)


def key_of(gateway: GatewayProcess) -> dict[str, str]:
    account = gateway.done("account", "create", "Ann", "--tier", "premium", "--postpaid")
    return {"Authorization": f"Bearer {gateway.done('keys', 'create', account)}"}


def test_jobs_money_and_deliveries_are_found_in_it_and_outlive_the_process(
    own_gateway: Callable[..., GatewayProcess], hooks: HookServer
) -> None:
    env = {"GATEWAY_AUTH": "required", "GATEWAY_METRICS_TOKEN": TOKEN, "GATEWAY_FETCH_ALLOW": hooks.allow}
    with LoopbackFal() as fal:
        gateway = own_gateway(**env, **fal.env()).start()
        key = key_of(gateway)
        gateway.engine_ready()
        assert gateway.generate(SMALL, **key).json()["status"] == "completed"
        delivery = {"email": False, "webhook": {"url": hooks.url("/ann")}}
        done = gateway.generate(ASK | {"delivery": delivery}, **key).json()
        assert done["status"] == "completed", done
        hooks.to("/ann")
        hooks.answers["/ann"].append(status(500))
        fal.fail("job", "nsfw")
        failed = gateway.generate(ASK | {"delivery": delivery}, **key).json()
        assert failed["code"] == "content_policy"
        hooks.to("/ann", 2)

        def all_there(found: Scraped) -> bool:
            ended = found.all("gateway_jobs_ended_total", **FLUX)
            sent = found.total("gateway_deliveries_total", kind="webhook", outcome="again")
            return ended == {("completed",): 1, ("failed",): 1, ("canceled",): 0} and sent == 1

        found = shows(gateway, "the jobs are counted", all_there)
        # Of the process.
        assert found.total("gateway_deliveries_total", kind="webhook", outcome="sent") == 1
        assert found.all("gateway_attempts_total", provider="fal") == {
            ("flux-dev", "succeeded"): 1,
            ("flux-dev", "content_policy"): 1,
        }
        assert found.total("gateway_job_seconds_count", **FLUX) == 2
        assert found.total("gateway_attempt_seconds_count", provider="diffusers") == 1
        assert found.total("gateway_provider_call_seconds_count", provider="fal", call="submit") == 2
        assert found.total("gateway_http_requests_total", route="/api/images/generate") == 3
        assert found.total("gateway_event_loop_lag_seconds_count") > 0
        assert found.value("gateway_info", role="serve") == 1
        # Of the engine.
        assert found.value("gateway_engine_up") == 1
        assert found.value("gateway_engine_jobs", state="running") == 0
        # Of the database: as its own tables say.
        assert found.total("gateway_charged_micros_total") == -ledger(gateway, "capture", "held:") > 0
        assert found.total("gateway_provider_cost_micros_total") == ledger(gateway, "cost", "cost:") > 0
        assert found.total("gateway_images_total") == 2
        assert (found.value("gateway_held_micros"), found.value("gateway_holds")) == (0, 0)
        waiting = found.value("gateway_outbox", kind="webhook", status="waiting")
        assert waiting == 1
        assert {row.family for row in NAMES} == set(found.families)

        gateway.kill()
        gateway.start()
        again = shows(gateway, "it is asked", lambda one: bool(one.all("gateway_jobs_ended_total")))
        for row in NAMES:
            if row.source == "database" and row.kind == "counter":
                assert again.all(row.name) == found.all(row.name), row.name
        assert again.total("gateway_attempts_total") == 0
        gateway.check_books()


def test_several_processes_are_one_server(
    own_gateway: Callable[..., GatewayProcess], request: pytest.FixtureRequest
) -> None:
    with request.getfixturevalue("postgres").empty_database() as url, LoopbackFal() as fal:
        gateway = own_gateway(
            GATEWAY_DATABASE_URL=url, GATEWAY_SECRET="s" * 32, GATEWAY_WORKERS="2",
            GATEWAY_METRICS_TOKEN=TOKEN, GATEWAY_ENGINE="127.0.0.1:9", **fal.env(),
        ).start()  # fmt: skip
        for _ in range(8):
            # A connection of its own each: either process may take it.
            answer = httpx.post(f"{gateway.url}/api/images/generate", json=ASK, timeout=60, trust_env=False)
            assert answer.json()["status"] == "completed"
        found = shows(
            gateway, "all jobs are counted", lambda one: one.total("gateway_jobs_ended_total", **FLUX) == 8
        )
        assert found.total("gateway_charged_micros_total") == -ledger(gateway, "capture", "held:")
        assert found.value("gateway_engine_up") == 0

        def served() -> set[int]:
            return {int(path.stem.rpartition("_")[2]) for path in (gateway.data_dir / "metrics").glob("*.db")}

        assert len(served()) == 2
        for _ in range(10):
            one = scrape(gateway)
            assert one.total("gateway_attempts_total", outcome="succeeded") == 8
            assert one.total("gateway_job_seconds_count", outcome="completed") == 8
            assert one.total("gateway_http_requests_total", route="/api/images/generate") == 8
            assert (one.value("process_resident_memory_bytes") or 0) > 2 * 50_000_000
        shows(gateway, "none of them runs a job", lambda one: one.value("gateway_jobs_driven") == 0)
        # Plain text, too, is whole.
        assert scrape(gateway, "text/plain").total("gateway_attempts_total") == 8

        gateway.stop()
        gateway.start()
        again = shows(gateway, "it is asked", lambda one: bool(one.all("gateway_jobs_ended_total")))
        assert again.total("gateway_jobs_ended_total", **FLUX) == 8
        assert again.total("gateway_attempts_total") == 0
        gateway.stop()
        gateway.check_books()
