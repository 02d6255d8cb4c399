"""The fal provider over real sockets: the contract of every provider, and its own promises."""

import asyncio
import re
import subprocess
import sys

import httpx
import msgspec
import pytest
from support.loopback_fal import KEY
from support.loopback_fal_client import DEV, ROUTES, call, context, provider_of

from providers.base import Failed, Handle, ImageUrl, Running, Succeeded, Waiting
from providers.conformance import ProviderContract, finish
from providers.errors import JobCanceled, RequestRejected
from providers.fal.provider import FalProvider
from registry.schema import ProviderRow

ROUTE = ROUTES[DEV]


class TestContract(ProviderContract):
    @pytest.fixture
    def make_provider(self, fal):
        return lambda: provider_of(fal)

    @pytest.fixture
    def good_call(self):
        return lambda id_: call(id_, num_images=2)

    @pytest.fixture
    def slow_call(self, fal):
        fal.fail("job", "endless")
        return lambda id_: call(id_)

    @pytest.fixture
    def bad_call(self):
        return lambda id_: call(id_, num_images=99)


async def started(provider: FalProvider, **given: object) -> Handle:
    handle = await provider.submit(call(**given))  # type: ignore[arg-type] - names of call()
    assert isinstance(handle, Handle)
    return handle


async def test_a_job_waits_runs_and_gives_its_picture(fal, provider):
    handle = await started(provider, seed=7)
    assert await provider.poll(handle) == Waiting(position=0)
    assert await provider.poll(handle) == Running(phase="look 2", logs=("look 2",))
    done = await provider.poll(handle)
    assert isinstance(done, Succeeded)
    (image,) = done.images
    assert isinstance(image, ImageUrl)
    assert (image.content_type, image.seed) == ("image/jpeg", 7)
    assert (done.billable_units, done.run_seconds) == ("1", 0.5)
    assert done.logs == ("look 2", "look 3")


async def test_what_was_billed_comes_as_fal_counts_it(fal, provider):
    handle = await started(provider, image_size={"width": 1024, "height": 1032}, num_images=3)
    done = await finish(provider, handle)
    assert isinstance(done, Succeeded)
    assert done.billable_units == "6"
    assert [job.units for job in fal.jobs] == [6]


async def test_a_utility_gives_one_image(fal, provider):
    urls = {"base_image_url": "https://a.org/a.png", "swap_image_url": "https://a.org/b.png"}
    done = await finish(provider, await started(provider, endpoint="fal-ai/face-swap", **urls))
    assert isinstance(done, Succeeded)
    assert len(done.images) == 1


async def test_a_submit_says_how_long_it_may_wait_and_refuses_a_stand_in(fal, provider):
    await started(provider, timeout_s=90.0)
    await started(provider, timeout_s=1.0)
    first, second = (job.headers for job in fal.jobs)
    assert (first["x-fal-request-timeout"], second["x-fal-request-timeout"]) == ("90.0", "1.1")
    assert first["x-app-fal-disable-fallback"] == "true"


async def test_the_handle_has_the_replys_urls_and_no_secret(fal, provider):
    handle = await started(provider)
    url = f"{fal.url}/fal-ai/flux/requests/{handle.remote_id}"
    assert handle.extra == {
        "endpoint": DEV,
        "status_url": f"{url}/status",
        "response_url": url,
        "cancel_url": f"{url}/cancel",
    }
    assert "secret" not in msgspec.json.encode(handle).decode()


async def test_a_picture_is_fetched_without_our_key(fal, provider):
    done = await finish(provider, await started(provider))
    assert isinstance(done, Succeeded)
    async with httpx.AsyncClient(trust_env=False) as plain:
        assert (await plain.get(done.images[0].url)).status_code == 200
        refused = await plain.get(done.images[0].url, headers={"Authorization": f"Key {KEY}"})
    assert refused.status_code == 400
    assert len(fal.violations) == 1
    fal.violations.clear()


async def test_polls_of_one_job_wait_for_each_other(fal, provider):
    handle = await started(provider)
    polls = await asyncio.gather(*(provider.poll(handle) for _ in range(8)))
    assert [type(poll) for poll in polls[:2]] == [Waiting, Running]
    assert all(isinstance(poll, Succeeded) for poll in polls[2:])


async def test_an_operator_adopts_a_job_by_its_id(fal, provider):
    fal.fail("submit", "lost")
    with pytest.raises(Exception, match="gave no answer"):
        await started(provider)
    handle = provider.handle_for(ROUTE, fal.jobs[0].id)
    assert isinstance(await finish(provider, handle), Succeeded)


@pytest.mark.parametrize("id_", ["", "a/b", "a b", "../x", "a?b", "ä"])
async def test_what_is_no_id_is_not_adopted(provider, id_):
    with pytest.raises(RequestRejected, match="no request id"):
        provider.handle_for(ROUTE, id_)


async def test_a_job_canceled_in_the_queue(fal, provider):
    fal.fail("job", "stuck")
    handle = await started(provider)
    assert await provider.poll(handle) == Waiting(position=0)
    await provider.cancel(handle)
    ended = await provider.poll(handle)
    assert isinstance(ended, Failed)
    assert isinstance(ended.error, JobCanceled)


async def test_a_job_canceled_while_it_runs(fal, provider):
    fal.fail("job", "endless")
    handle = await started(provider)
    await provider.poll(handle)
    assert await provider.poll(handle) == Running(phase="look 2", logs=("look 2",))
    await provider.cancel(handle)
    ended = await provider.poll(handle)
    assert isinstance(ended, Failed)
    assert isinstance(ended.error, JobCanceled)


async def test_a_job_that_another_process_canceled(fal, provider):
    fal.fail("job", "stuck")
    handle = await started(provider)
    before = provider_of(fal)
    await before.cancel(handle)
    await before.aclose()
    await provider.cancel(handle)
    ended = await provider.poll(handle)
    assert isinstance(ended, Failed)
    assert isinstance(ended.error, JobCanceled)


async def test_canceling_what_ended_or_never_was_is_no_error(fal, provider):
    handle = await started(provider)
    await finish(provider, handle)
    await provider.cancel(handle)
    await provider.cancel(provider.handle_for(ROUTE, "nobody"))
    assert isinstance(await provider.poll(handle), Succeeded)
    assert [r.path.rpartition("/")[2] for r in fal.seen("PUT")] == ["cancel", "cancel"]


async def test_the_key_shows_nowhere(fal, provider):
    fal.fail("submit", "500")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        await started(provider)
    for shown in (repr(provider), repr(caught.value), str(vars(caught.value)), repr(provider._link)):
        assert "secret" not in shown


# -- whether it can be used ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "setting", "why"),
    [
        ({}, "FAL_KEY", "set FAL_KEY"),
        ({"FAL_KEY": " "}, "FAL_KEY", "set FAL_KEY"),
        ({"FAL_KEY": "a b"}, "FAL_KEY", "no key"),
        ({"FAL_KEY": "a\nb"}, "FAL_KEY", "no key"),
        ({"FAL_KEY": KEY, "FAL_QUEUE_URL": "http://fal.example"}, "FAL_QUEUE_URL", "use https"),
        ({"FAL_KEY": KEY, "FAL_CDN_URL": "cdn"}, "FAL_CDN_URL", "no.* base URL"),
    ],
)
def test_what_has_to_be_set(env, setting, why):
    found = FalProvider.unavailable(context(**env), ROUTE)
    assert found is not None
    assert found.setting == setting
    assert re.search(why, found.reason)


def test_a_row_names_its_own_key():
    row = ProviderRow(type="fal", key="OTHER_FAL")
    found = FalProvider.unavailable(msgspec.structs.replace(context(FAL_KEY=KEY), row=row), ROUTE)
    assert found is not None
    assert found.setting == "OTHER_FAL"


def test_a_key_is_enough():
    assert FalProvider.unavailable(context(FAL_KEY=KEY), ROUTE) is None


def test_asking_whether_it_can_be_used_imports_no_fal_client():
    code = "import sys, providers.fal.provider; assert 'fal_client' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


IMPORTS = """
import asyncio, sys, threading
from providers.base import Handle, ProviderContext
from providers.errors import ProviderUnavailable
from providers.fal.provider import FalProvider
from registry.schema import ProviderRow

importers = []
def watch(event, args):
    if event == "import" and args[0] == "fal_client":
        importers.append(threading.current_thread())
sys.addaudithook(watch)

async def use():
    env = {"FAL_KEY": "id:secret", "FAL_QUEUE_URL": "http://127.0.0.1:1"}
    row = ProviderRow(type="fal", key="FAL_KEY")
    provider = FalProvider.create(ProviderContext(name="fal", row=row, env=env, data_dir="/nowhere"))
    assert "fal_client" not in sys.modules, "create imports it"
    url = "http://127.0.0.1:1/a/b/requests/1"
    handle = Handle(provider="fal", remote_id="1", extra={n + "_url": url for n in ("status", "response", "cancel")})
    for result in await asyncio.gather(*(provider.poll(handle) for _ in range(9)), return_exceptions=True):
        assert type(result) is ProviderUnavailable, result
    await provider.aclose()

asyncio.run(use())
assert importers and threading.main_thread() not in importers, importers
"""


def test_fal_client_is_imported_beside_the_event_loop():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


BROKEN = """
import asyncio, sys
sys.modules["fal_client"] = None  # its import fails, as that of a broken installation does
from providers.base import Call, ProviderContext
from providers.errors import ProviderUnavailable
from providers.fal.provider import FalProvider
from registry.load import load_registry
from registry.schema import ProviderRow

async def use():
    env = {"FAL_KEY": "id:secret", "FAL_QUEUE_URL": "http://127.0.0.1:1"}
    row = ProviderRow(type="fal", key="FAL_KEY")
    provider = FalProvider.create(ProviderContext(name="fal", row=row, env=env, data_dir="/nowhere"))
    route = load_registry().models["flux-dev"].routes[-1]
    try:
        await provider.submit(Call(id="a", route=route, payload={"prompt": "x"}, num_images=1, timeout_s=9))
    except ProviderUnavailable as error:
        assert "fal-client cannot be loaded" in error.message, error
    else:
        raise AssertionError("it was submitted")
    await provider.aclose()

asyncio.run(use())
"""


def test_a_fal_client_that_cannot_be_imported_sent_nothing():
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


async def test_a_blank_around_the_key_does_not_matter(fal):
    provider = provider_of(fal, FAL_KEY=f" {KEY}\n")
    await started(provider)
    await provider.aclose()
