import hashlib
import sys
from decimal import Decimal

import pytest
from msgspec.structs import replace
from support.engines import TOKEN
from support.loras import make as make_lora
from support.tiny_pipelines import half_mask, photo

from providers.base import Call, Failed, Handle, MediaRef, ProviderContext, Running, Succeeded
from providers.conformance import ProviderContract, finish
from providers.diffusers_modal import embedded
from providers.diffusers_modal.address import EngineAddress, write_address
from providers.diffusers_modal.job import MAX_LORA_BYTES
from providers.diffusers_modal.provider import DiffusersModalProvider, _is_installed
from providers.errors import (
    JobCanceled,
    JobLost,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRejected,
)
from registry.schema import Pipeline, Price, ProviderRow, Route, SizeRule

MODAL = {"MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}


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


class Kept:
    """Media of ours: the bytes by their URLs."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    async def read(self, ref: MediaRef) -> bytes:
        return self.files[ref.url]


async def test_a_picture_and_a_mask_go_along(make):
    media = Kept(i=photo(64, 64), m=half_mask(64, 64))
    drawn = call(image=MediaRef(url="i"), strength=0.5)
    masked = call("att_2", image=MediaRef(url="i"), mask_image=MediaRef(url="m"), strength=0.5)
    pictures = set()
    for work in (call("att_0"), replace(drawn, media=media), replace(masked, media=media)):
        done = await finish(make(), await make().submit(work))
        assert isinstance(done, Succeeded), done
        pictures.add(done.images[0].data)
    assert len(pictures) == 3


async def test_a_lora_goes_along_and_leaves_nothing(make):
    data = make_lora(embedded.folder("mini"))
    ref = MediaRef(url="l", sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    async def picture(id_: str, **payload) -> bytes:
        work = replace(call(id_, **payload), media=Kept(l=data))
        done = await finish(make(), await make().submit(work))
        assert isinstance(done, Succeeded), done
        return done.images[0].data

    plain = await picture("att_1")
    assert await picture("att_2", loras=[{"path": ref, "scale": 1.0}]) != plain
    assert await picture("att_3") == plain


async def test_a_lora_that_is_too_large_is_refused_before_it_is_read(make):
    ref = MediaRef(url="none", size=MAX_LORA_BYTES + 1)
    with pytest.raises(RequestRejected, match="256"):
        await make().submit(replace(call(loras=[{"path": ref, "scale": 1.0}]), media=Kept()))


async def test_a_list_of_pictures_is_refused(make):
    with pytest.raises(RequestRejected, match="image"):
        await make().submit(call(image=[MediaRef(url="https://example.org/a.png")]))


def test_a_handle_says_where_the_job_is():
    here = DiffusersModalProvider.create(context(**MODAL))
    assert here.handle_for(route("local"), "att_1").extra == {}
    handle = here.handle_for(route("A10G"), "fc-01ABC")
    assert (handle.remote_id, handle.extra) == ("fc-01ABC", {"tier": "A10G", "job": ""})
    with pytest.raises(RequestRejected, match="fc-"):
        here.handle_for(route("A10G"), "att_1")


def test_a_submit_is_repeatable_on_an_engine_alone():
    modal = DiffusersModalProvider.create(context(**MODAL))
    assert [modal.idempotent_submit(route(tier)) for tier in ("local", "A10G")] == [True, False]
    local = DiffusersModalProvider.create(context(**LOCAL))
    assert local.idempotent_submit(route("A10G"))


async def test_an_engine_elsewhere_is_reached_with_its_token(port):
    env = {"GATEWAY_ENGINE": f"127.0.0.1:{port}", "GATEWAY_ENGINE_TOKEN": TOKEN}
    provider = DiffusersModalProvider.create(context(**env))
    assert isinstance(await finish(provider, await provider.submit(call())), Succeeded)


HALF = {"MODAL_TOKEN_ID": "ak-1"}
LOCAL = {"DIFFUSERS_TARGET": "local"}
ELSEWHERE = {"GATEWAY_ENGINE": "gpu:7860", "GATEWAY_ENGINE_TOKEN": "t"}


@pytest.mark.parametrize(
    ("tier", "env"),
    [
        ("local", {}),
        ("local", MODAL),
        ("A10G", LOCAL),
        ("L40S", MODAL | LOCAL),
        ("L40S", MODAL),
        ("local", ELSEWHERE),
    ],
)
def test_what_an_engine_runs_is_available(tier, env):
    assert DiffusersModalProvider.unavailable(context(**env), route(tier)) is None


@pytest.mark.parametrize(
    ("tier", "env", "setting"),
    [
        ("A10G", {}, "MODAL_TOKEN_ID"),
        ("L40S", {"DIFFUSERS_TARGET": "modal"}, "MODAL_TOKEN_ID"),
        ("L40S", HALF, "MODAL_TOKEN_SECRET"),
        ("local", {"DIFFUSERS_TARGET": "moon"}, "DIFFUSERS_TARGET"),
        ("local", {"GATEWAY_ENGINE": "gpu"}, "GATEWAY_ENGINE"),
        ("local", {"GATEWAY_ENGINE": "gpu:7860"}, "GATEWAY_ENGINE_TOKEN"),
        ("local", {"GATEWAY_ENGINE": "none"}, "GATEWAY_ENGINE"),
        ("A10G", LOCAL | {"GATEWAY_ENGINE": "none"}, "GATEWAY_ENGINE"),
        ("local", {"GATEWAY_ENGINE": "none", "GATEWAY_RUN_JOBS": "no"}, "GATEWAY_ENGINE"),
        ("L40S", {"GATEWAY_RUN_JOBS": "no"}, "MODAL_TOKEN_ID"),
    ],
)
def test_what_is_not_available_names_its_setting(tier, env, setting):
    unavailable = DiffusersModalProvider.unavailable(context(**env), route(tier))
    assert unavailable.setting == setting
    assert setting in unavailable.reason


@pytest.fixture
def without_torch(monkeypatch):
    """As on a machine where it is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)
    _is_installed.cache_clear()
    yield
    _is_installed.cache_clear()


@pytest.mark.usefixtures("without_torch")
def test_where_jobs_do_not_run_the_engine_is_the_workers():
    unavailable = DiffusersModalProvider.unavailable(context(), route())
    assert unavailable.setting == "GATEWAY_ENGINE"
    assert "torch" in unavailable.reason
    for more in ({}, {"GATEWAY_ENGINE": "gpu:7860"}):
        env = {"GATEWAY_RUN_JOBS": "no", **more}
        assert DiffusersModalProvider.unavailable(context(**env), route()) is None


def test_a_gpu_tier_names_the_way_without_modal():
    unavailable = DiffusersModalProvider.unavailable(context(), route("A10G"))
    assert "DIFFUSERS_TARGET=local" in unavailable.reason
