"""A loopback fal for each test; a client that breaks fal's protocol fails it."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from support.loopback_fal import LoopbackFal
from support.loopback_fal_client import provider_of

from providers.fal.provider import FalProvider
from providers.fal.queue import Timeouts


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    with LoopbackFal() as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def provider(fal: LoopbackFal) -> AsyncIterator[FalProvider]:
    found = provider_of(fal)
    yield found
    await found.aclose()


@pytest.fixture
async def impatient(fal: LoopbackFal) -> AsyncIterator[Callable[..., FalProvider]]:
    """Makes providers that wait a given time for a reply."""
    made = []

    def make(seconds: float) -> FalProvider:
        limits = Timeouts(submit_s=seconds, status_s=seconds, result_s=seconds, upload_s=seconds)
        made.append(provider_of(fal, limits))
        return made[-1]

    yield make
    for found in made:
        await found.aclose()
