"""A value is looked for by one task, when it is old, and who asks does not wait for ever."""

import asyncio

import pytest

from gateway.observe.kept import Kept


class World:
    """A clock, and a look that a test opens."""

    def __init__(self, patience_s: float = 5.0) -> None:
        self.now = 100.0
        self.looks = 0
        self.open = asyncio.Event()
        self.fault: Exception | None = None
        self.kept = Kept("it", self.look, lambda: self.now, every_s=10, patience_s=patience_s)

    async def look(self) -> int:
        self.looks += 1
        number = self.looks
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return number


async def test_many_who_ask_share_a_look() -> None:
    world = World()
    world.open.set()
    assert await asyncio.gather(*(world.kept.get() for _ in range(9))) == [1] * 9
    world.now += 9.9
    assert await world.kept.get() == 1
    assert world.kept.age_s == pytest.approx(9.9)
    world.now += 0.1
    assert await world.kept.get() == 2
    assert world.kept.age_s == 0


async def test_a_look_that_takes_long_is_had_later() -> None:
    world = World(patience_s=0.01)
    assert await world.kept.get() is None
    assert await world.kept.get() is None
    assert world.looks == 1
    world.now += 4
    world.open.set()
    while await world.kept.get() is None:
        await asyncio.sleep(0)
    # As old as when it was begun, not as when it came.
    assert world.kept.age_s == 4
    assert world.looks == 1


async def test_a_look_that_fails_leaves_the_old_one_and_is_made_again(caplog) -> None:
    world = World()
    world.open.set()
    await world.kept.get()
    world.fault = ValueError("it is away")
    world.now += 50
    assert await world.kept.get() == 1
    assert "it cannot be found out now: it is away" in caplog.text
    assert world.kept.age_s == 50
    world.fault = None
    assert await world.kept.get() == 3
    assert world.kept.age_s == 0


async def test_what_is_looked_for_is_given_up() -> None:
    world = World(patience_s=0.01)
    await world.kept.get()
    await world.kept.aclose()
    await world.kept.aclose()
    assert await world.kept.get() is None
    assert world.looks == 2
    await world.kept.aclose()
