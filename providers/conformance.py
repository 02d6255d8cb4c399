"""The contract tests of a provider, shipped so that a third party's provider can be held to them.

Subclass in a test file, say how to make the provider and a call, and run pytest:

    class TestMine(ProviderContract):
        @pytest.fixture
        def make_provider(self): ...   # () -> Provider; each call a fresh instance on the same host
        @pytest.fixture
        def good_call(self): ...       # (id) -> Call that succeeds within a few seconds
        @pytest.fixture
        def slow_call(self): ...       # (id) -> Call that runs for seconds, so it can be canceled
        @pytest.fixture
        def bad_call(self): ...        # (id) -> Call that the host refuses or fails

Needs pytest and pytest-asyncio in auto mode.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from providers.base import Call, Failed, Handle, ImageBytes, ImageUrl, Poll, Provider, Succeeded
from providers.errors import JobCanceled, ProviderError

__all__ = ["ProviderContract", "finish"]

MakeProvider = Callable[[], Provider]
MakeCall = Callable[[str], Call]


async def finish(provider: Provider, handle: Handle, timeout_s: float = 60) -> Succeeded | Failed:
    """Poll a job until it ends; fails the test after `timeout_s` seconds."""
    async with asyncio.timeout(timeout_s):
        while True:
            poll: Poll = await provider.poll(handle)
            if isinstance(poll, Succeeded | Failed):
                return poll
            await asyncio.sleep(0.02)


class ProviderContract:
    """What every provider keeps to. Each test says the promise in its name."""

    async def _start(self, provider: Provider, call: Call) -> Handle | Succeeded:
        answer = await provider.submit(call)
        assert isinstance(answer, Handle | Succeeded)
        return answer

    async def _complete(self, provider: Provider, call: Call) -> Succeeded | Failed:
        answer = await self._start(provider, call)
        return answer if isinstance(answer, Succeeded) else await finish(provider, answer)

    async def test_it_is_a_provider(self, make_provider: MakeProvider) -> None:
        """It has the protocol's members and a type."""
        provider = make_provider()
        assert isinstance(provider, Provider)
        assert provider.type
        await provider.aclose()

    async def test_a_call_gives_its_images(self, make_provider: MakeProvider, good_call: MakeCall) -> None:
        """As many pictures as were asked for, each with bytes or a URL."""
        provider = make_provider()
        call = good_call("att_conformance_images")
        done = await self._complete(provider, call)
        assert isinstance(done, Succeeded), done
        assert len(done.images) == call.num_images
        for image in done.images:
            assert isinstance(image, ImageBytes | ImageUrl)
            assert image.data if isinstance(image, ImageBytes) else image.url
        await provider.aclose()

    async def test_a_handle_survives_storage_and_a_new_instance(
        self, make_provider: MakeProvider, good_call: MakeCall
    ) -> None:
        """A handle goes through JSON, and an instance that never saw the job can end it."""
        first = make_provider()
        answer = await self._start(first, good_call("att_conformance_resume"))
        await first.aclose()
        if isinstance(answer, Succeeded):
            return  # it answers at once: there is no handle to keep
        stored = msgspec.json.decode(msgspec.json.encode(answer), type=Handle)
        assert stored == answer
        second = make_provider()
        assert isinstance(await finish(second, stored), Succeeded)
        await second.aclose()

    async def test_polling_is_quick_and_repeatable(
        self, make_provider: MakeProvider, good_call: MakeCall
    ) -> None:
        """A poll never waits for the job, and an ended job stays ended."""
        provider = make_provider()
        answer = await self._start(provider, good_call("att_conformance_poll"))
        if isinstance(answer, Handle):
            started = time.monotonic()
            await provider.poll(answer)
            assert time.monotonic() - started < 5
            await finish(provider, answer)
            assert isinstance(await provider.poll(answer), Succeeded)
        await provider.aclose()

    async def test_cancel_ends_the_job_and_can_be_repeated(
        self, make_provider: MakeProvider, slow_call: MakeCall
    ) -> None:
        """A canceled job ends as canceled, or had ended already; a second cancel is no error."""
        provider = make_provider()
        answer = await self._start(provider, slow_call("att_conformance_cancel"))
        if isinstance(answer, Handle):
            await provider.cancel(answer)
            await provider.cancel(answer)
            ended = await finish(provider, answer)
            assert isinstance(ended, Succeeded) or isinstance(ended.error, JobCanceled)
            await provider.cancel(answer)
        await provider.aclose()

    async def test_a_bad_call_ends_in_a_class_of_the_tree(
        self, make_provider: MakeProvider, bad_call: MakeCall
    ) -> None:
        """A refusal is a ProviderError with a stable code and words for a person."""
        provider = make_provider()
        try:
            ended = await self._complete(provider, bad_call("att_conformance_bad"))
        except ProviderError as error:
            ended = Failed(error=error)
        assert isinstance(ended, Failed), ended
        assert isinstance(ended.error, ProviderError)
        assert ended.error.code != ProviderError.code
        assert len(ended.error.message) > 10
        await provider.aclose()

    async def test_a_second_submit_of_one_id_runs_once_where_promised(
        self, make_provider: MakeProvider, good_call: MakeCall
    ) -> None:
        """With `idempotent_submit`, the same id twice is the same job."""
        provider = make_provider()
        call = good_call("att_conformance_twice")
        if provider.idempotent_submit(call.route):
            first = await self._start(provider, call)
            assert await self._start(provider, call) == first
        await provider.aclose()

    async def test_closing_twice_is_no_error(self, make_provider: MakeProvider) -> None:
        """`aclose` is idempotent."""
        provider = make_provider()
        await provider.aclose()
        await provider.aclose()
