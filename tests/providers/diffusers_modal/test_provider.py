from decimal import Decimal

import pytest
from support.engines import TOKEN

from providers.base import Call, Failed, Handle, MediaRef, ProviderContext, Running, Succeeded
from providers.conformance import ProviderContract, finish
from providers.diffusers_modal.address import EngineAddress, write_address
from providers.diffusers_modal.provider import DiffusersModalProvider
from providers.errors import (
    JobCanceled,
    JobLost,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRejected,
)
from registry.schema import Pipeline, Price, ProviderRow, Route, SizeRule


def route(tier="local", source="embedded:mini"):
    return Route(
        model="mini",
        index=0,
        when=frozenset(),
        provider="diffusers",
        endpoint="mini",
        dialect="diffusers",
        parameters={},
        constants={},
        size=SizeRule(style="width_height", default="64x64"),
        provider_cost=Price(per_image=Decimal(0)),
        pipeline=Pipeline(
            source=source, pipeline_class="StableDiffusionPipeline", tier=tier, dtype="float32"
        ),
    )


def context(data_dir="", **env):
    return ProviderContext(
        name="diffusers", row=ProviderRow(type="diffusers_modal"), env=env, data_dir=str(data_dir)
    )


def call(id_="att_1", source="embedded:mini", num_images=1, timeout_s=60.0, **payload):
    small = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 3}
    return Call(
        id=id_,
        route=route(source=source),
        payload=small | payload,
        num_images=num_images,
        timeout_s=timeout_s,
    )


def slow(id_="att_slow", **more):
    return call(id_, num_inference_steps=1000, num_images=64, **more)


@pytest.fixture
def make(port, tmp_path):
    write_address(tmp_path, EngineAddress(host="127.0.0.1", port=port, token=TOKEN))
    return lambda: DiffusersModalProvider.create(context(tmp_path))


class TestContract(ProviderContract):
    @pytest.fixture
    def make_provider(self, make):
        return make

    @pytest.fixture
    def good_call(self):
        return lambda id_: call(id_, num_images=2)

    @pytest.fixture
    def slow_call(self):
        return slow

    @pytest.fixture
    def bad_call(self):
        return lambda id_: call(id_, scheduler="zigzag")


async def test_each_picture_tells_its_seed(make):
    done = await finish(make(), await make().submit(call(num_images=2)))
    assert isinstance(done, Succeeded)
    assert [image.seed for image in done.images] == [3, 4]
    assert done.run_seconds > 0


async def test_the_number_of_images_in_the_payload_is_the_calls(make):
    work = call(num_images=2)
    work.payload["num_images"] = 2
    done = await finish(make(), await make().submit(work))
    assert len(done.images) == 2


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (call(scheduler="zigzag"), RequestRejected),
        (call(colour="red"), RequestRejected),
        (call(source="embedded:none"), ProviderFailed),
        (slow(timeout_s=0.2), ProviderTimeout),
    ],
    ids=["scheduler", "parameter", "weights", "deadline"],
)
async def test_what_went_wrong_has_its_class(make, wrong, error):
    ended = await finish(make(), await make().submit(wrong))
    assert isinstance(ended, Failed)
    assert type(ended.error) is error
    assert ended.error.provider == "diffusers"


async def test_progress_and_cancel(make):
    provider = make()
    handle = await provider.submit(slow())
    while not (isinstance(poll := await provider.poll(handle), Running) and poll.step):
        assert not isinstance(poll, Failed | Succeeded)
    assert poll.steps == 64_000
    assert poll.phase == "denoise"
    await provider.cancel(handle)
    ended = await finish(provider, handle)
    assert type(ended.error) is JobCanceled


async def test_a_job_that_the_engine_forgot_is_lost(make):
    ended = await make().poll(Handle(provider="diffusers", remote_id="gone"))
    assert type(ended.error) is JobLost
    assert "Nothing was charged" in ended.error.message


async def test_without_an_engine_a_poll_is_unavailable(tmp_path):
    provider = DiffusersModalProvider.create(context(tmp_path))
    with pytest.raises(ProviderUnavailable):
        await provider.poll(Handle(provider="diffusers", remote_id="x"))


async def test_a_picture_as_input_is_refused(make):
    with pytest.raises(RequestRejected, match="image_url"):
        await make().submit(call(image_url=MediaRef(url="https://example.org/a.png")))


async def test_an_engine_elsewhere_is_reached_with_its_token(port):
    env = {"GATEWAY_ENGINE": f"127.0.0.1:{port}", "GATEWAY_ENGINE_TOKEN": TOKEN}
    provider = DiffusersModalProvider.create(context(**env))
    assert isinstance(await finish(provider, await provider.submit(call())), Succeeded)


MODAL = {"MODAL_TOKEN_ID": "ak-1"}
LOCAL = {"DIFFUSERS_TARGET": "local"}
ELSEWHERE = {"GATEWAY_ENGINE": "gpu:7860", "GATEWAY_ENGINE_TOKEN": "t"}


@pytest.mark.parametrize(
    ("tier", "env"),
    [("local", {}), ("local", MODAL), ("A10G", LOCAL), ("L40S", MODAL | LOCAL), ("local", ELSEWHERE)],
)
def test_what_an_engine_runs_is_available(tier, env):
    assert DiffusersModalProvider.unavailable(context(**env), route(tier)) is None


@pytest.mark.parametrize(
    ("tier", "env", "setting"),
    [
        ("A10G", {}, "MODAL_TOKEN_ID"),
        ("L40S", {"DIFFUSERS_TARGET": "modal"}, "MODAL_TOKEN_ID"),
        ("L40S", MODAL, "DIFFUSERS_TARGET"),
        ("local", {"DIFFUSERS_TARGET": "moon"}, "DIFFUSERS_TARGET"),
        ("local", {"GATEWAY_ENGINE": "gpu"}, "GATEWAY_ENGINE"),
        ("local", {"GATEWAY_ENGINE": "gpu:7860"}, "GATEWAY_ENGINE_TOKEN"),
    ],
)
def test_what_is_not_available_names_its_setting(tier, env, setting):
    unavailable = DiffusersModalProvider.unavailable(context(**env), route(tier))
    assert unavailable.setting == setting
    assert setting in unavailable.reason


def test_a_gpu_tier_names_the_way_without_modal():
    unavailable = DiffusersModalProvider.unavailable(context(), route("A10G"))
    assert "DIFFUSERS_TARGET=local" in unavailable.reason
