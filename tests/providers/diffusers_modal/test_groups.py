"""Jobs that are handed over together run together, and each keeps its own handle, cancel and end."""

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace
from support.engines import MINI, TOKEN, ask, code, denoising, ended, job, long_job, made, pixels, until

from providers.base import Call, Group, Handle, MediaRef, ProviderContext, Succeeded, TakesGroups
from providers.conformance import finish
from providers.diffusers_modal.address import EngineAddress, write_address
from providers.diffusers_modal.gather import Gatherer
from providers.diffusers_modal.provider import DiffusersModalProvider
from providers.diffusers_modal.wire import Accepted, Cancel, Done, Poll, Queued, Submit, SubmitMany
from providers.errors import ProviderUnavailable
from registry.schema import Pipeline, Price, ProviderRow, Route, SizeRule


class Sent:
    """Takes what a gatherer sends, when the test lets it."""

    def __init__(self):
        self.groups = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.error = None

    async def __call__(self, jobs):
        self.groups.append([one.id for one in jobs])
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return [Handle(provider="diffusers", remote_id=one.id) for one in jobs]


def group(size, id_="bat_1"):
    return Group(id=id_, size=size)


async def test_a_group_goes_when_its_last_has_come():
    gatherer, sent = Gatherer(patience_s=600), Sent()
    first = [asyncio.create_task(gatherer.submit(group(3), job(name), sent)) for name in ("a", "b")]
    await asyncio.sleep(0)
    assert sent.groups == []
    last = await gatherer.submit(group(3), job("c"), sent)
    assert sent.groups == [["a", "b", "c"]]
    assert [handle.remote_id for handle in (*await asyncio.gather(*first), last)] == ["a", "b", "c"]


async def test_a_group_does_not_wait_for_ever_for_one_that_was_canceled():
    gatherer, sent = Gatherer(patience_s=0), Sent()
    handle = await gatherer.submit(group(2), job("a"), sent)
    assert (sent.groups, handle.remote_id) == ([["a"]], "a")


async def test_groups_are_kept_apart():
    gatherer, sent = Gatherer(patience_s=600), Sent()
    calls = [("x", "a"), ("y", "b"), ("y", "c"), ("x", "d")]
    await asyncio.gather(*(gatherer.submit(group(2, of), job(name), sent) for of, name in calls))
    assert sorted(sent.groups) == [["a", "d"], ["b", "c"]]


async def test_who_does_not_wait_any_more_is_not_sent():
    gatherer, sent = Gatherer(patience_s=600), Sent()
    gone = asyncio.create_task(gatherer.submit(group(2), job("a"), sent))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert (await gatherer.submit(group(2), job("b"), sent)).remote_id == "b"
    assert sent.groups == [["b"]]


async def test_each_is_told_what_went_wrong():
    gatherer, sent = Gatherer(patience_s=600), Sent()
    sent.error = ProviderUnavailable("away", provider="diffusers", raw="refused", retry_after=3)
    both = [gatherer.submit(group(2), job(name), sent) for name in ("a", "b")]
    errors = await asyncio.gather(*both, return_exceptions=True)
    assert [(type(e), e.message, e.raw, e.retry_after) for e in errors] == [
        (ProviderUnavailable, "away", "refused", 3)
    ] * 2
    assert errors[0] is not errors[1]


async def test_close_waits_for_what_is_on_its_way_and_sends_nothing_more():
    gatherer, sent = Gatherer(patience_s=600), Sent()
    sent.answer.clear()
    on_its_way = asyncio.create_task(gatherer.submit(group(1, "x"), job("a"), sent))
    waiting = asyncio.create_task(gatherer.submit(group(2, "y"), job("b"), sent))
    await asyncio.sleep(0)
    closing = asyncio.create_task(gatherer.aclose())
    await asyncio.sleep(0)
    sent.answer.set()
    await closing
    assert (await on_its_way).remote_id == "a"
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sent.groups == [["a"]]


# -- the engine ----------------------------------------------------------------------


@pytest.fixture
def calls(engine, monkeypatch):
    """How many jobs each call of the engine had."""
    seen = []
    alone, many = engine.run, engine.run_many

    def run(work, *more):
        seen.append([work.id])
        return alone(work, *more)

    def run_many(works, *more):
        seen.append([work.id for work in works])
        return many(works, *more)

    monkeypatch.setattr(engine, "run", run)
    monkeypatch.setattr(engine, "run_many", run_many)
    return seen


def many(*jobs):
    return SubmitMany(jobs=jobs)


async def test_they_run_in_one_call_and_give_the_pictures_of_their_own(port, engine, calls):
    works = [job("a"), job("b", prompt="a blue sea", seed=9), job("c", seed=5, num_images=2)]
    assert await ask(port, many(*works)) == Accepted()
    answers = [made(await until(port, work.id, ended)) for work in works]
    assert calls == [["a", "b", "c"]]
    assert [[image.seed for image in answer.images] for answer in answers] == [[1], [9], [5, 6]]
    own = made(engine.run(works[1]))
    assert abs(pixels(answers[1].images[0].data) - pixels(own.images[0].data)).max() <= 2


async def test_one_that_was_taken_before_is_not_run_twice(port, calls):
    await ask(port, many(job("a"), job("b")))
    first = await until(port, "b", ended)
    # The answer to the first submit was lost, and it is sent again.
    assert await ask(port, many(job("a"), job("b"), job("c"))) == Accepted()
    assert isinstance(await until(port, "c", ended), Done)
    assert calls == [["a", "b"], ["c"]]
    assert await ask(port, Poll(id="b")) == first


async def test_a_canceled_one_ends_at_once_and_the_others_go_on(port):
    long = {"num_inference_steps": 100}
    await ask(port, many(job("a", **long), job("b", **long)))
    await until(port, "b", denoising)
    await ask(port, Cancel(id="a"))
    assert code(await ask(port, Poll(id="a"))) == "canceled"
    assert isinstance(await until(port, "b", ended), Done)
    assert code(await ask(port, Poll(id="a"))) == "canceled"


async def test_when_all_are_canceled_the_call_ends(port):
    long = {"num_inference_steps": 1000}
    await ask(port, many(job("a", **long), job("b", **long)))
    await until(port, "b", denoising)
    for name in ("a", "b"):
        await ask(port, Cancel(id=name))
    assert [code(await until(port, name, ended)) for name in ("a", "b")] == ["canceled", "canceled"]
    await ask(port, Submit(job=job("after")))
    assert isinstance(await until(port, "after", ended), Done)


async def test_one_canceled_in_the_queue_is_left_out(port, calls):
    await ask(port, Submit(job=long_job()))
    await until(port, "long", denoising)
    await ask(port, many(job("a"), job("b"), job("c")))
    assert await ask(port, Poll(id="c")) == Queued(position=3)
    await ask(port, Cancel(id="b"))
    assert code(await ask(port, Poll(id="b"))) == "canceled"
    await ask(port, Cancel(id="long"))
    assert isinstance(await until(port, "c", ended), Done)
    assert calls == [["long"], ["a", "c"]]


async def test_one_whose_time_is_over_does_not_run_with_the_others(port, calls):
    await ask(port, Submit(job=long_job()))
    await until(port, "long", denoising)
    await ask(port, many(job("a"), replace(job("b"), timeout_s=0.001)))
    await ask(port, Cancel(id="long"))
    assert isinstance(await until(port, "a", ended), Done)
    assert code(await ask(port, Poll(id="b"))) == "timeout"
    assert calls == [["long"], ["a"]]


async def test_one_with_a_fault_does_not_stop_the_others(port):
    await ask(port, many(job("a"), job("b", scheduler="zigzag")))
    assert isinstance(await until(port, "a", ended), Done)
    assert code(await until(port, "b", ended)) == "unknown_scheduler"


async def test_nobody_without_the_token_hands_them_over(port):
    assert code(await ask(port, many(job("a")), TOKEN + "x")) == "unauthorized"
    assert code(await ask(port, Poll(id="a"))) == "unknown_job"


# -- the provider --------------------------------------------------------------------


def call(id_, of=None, num_images=1, **payload):
    small = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 3}
    pipeline = Pipeline(source=MINI.source, pipeline_class=MINI.pipeline_class, tier="local", dtype="float32")
    route = Route(
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
        pipeline=pipeline,
    )
    return Call(
        id=id_,
        route=route,
        payload={**small, "prompt": id_, **payload},
        num_images=num_images,
        timeout_s=60,
        group=of,
    )


@pytest.fixture
def provider(port, tmp_path):
    write_address(tmp_path, EngineAddress(host="127.0.0.1", port=port, token=TOKEN))
    row = ProviderRow(type="diffusers_modal")
    return DiffusersModalProvider.create(
        ProviderContext(name="diffusers", row=row, env={}, data_dir=str(tmp_path))
    )


async def test_the_calls_of_a_group_are_one_call_of_the_engine(provider, calls):
    assert isinstance(provider, TakesGroups)
    handles = await asyncio.gather(*(provider.submit(call(name, group(2))) for name in ("a", "b")))
    assert handles == [Handle(provider="diffusers", remote_id=name) for name in ("a", "b")]
    ends = await asyncio.gather(*(finish(provider, handle) for handle in handles))
    assert [type(end) for end in ends] == [Succeeded, Succeeded]
    assert calls == [["a", "b"]]
    # The same again, as after an answer that was lost.
    again = await asyncio.gather(*(provider.submit(call(name, group(2))) for name in ("a", "b")))
    assert again == handles
    assert calls == [["a", "b"]]
    await provider.aclose()


async def test_a_call_with_a_group_of_its_own_waits_for_nobody(provider, calls):
    provider._gatherer = Gatherer(patience_s=600)
    await finish(provider, await provider.submit(call("a", group(1))))
    assert calls == [["a"]]
    await provider.aclose()


@pytest.mark.parametrize(
    ("payload", "num_images", "limit"),
    [
        ({"prompt": "x"}, 1, 8),
        ({"prompt": "x"}, 3, 2),
        ({"prompt": "x"}, 64, 1),
        ({"prompt": "x", "image": MediaRef(url="u")}, 1, 1),
        ({"prompt": "x", "loras": [{"path": MediaRef(url="u")}]}, 1, 1),
        ({"prompt": "x", "loras": []}, 1, 8),
    ],
)
def test_how_many_make_up_a_group(provider, payload, num_images, limit):
    assert provider.group_limit(call("a").route, payload, num_images) == limit
