"""The event loop's lag is what a timer is late by."""

import asyncio
import time

from gateway.observe.loop_lag import EVERY_S, LoopLag
from gateway.observe.metrics import Metrics


def noted(metrics: Metrics) -> tuple[float, float]:
    """How many times, and seconds in all."""
    values = {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
    name = "gateway_event_loop_lag_seconds"
    return values[f"{name}_count"], values[f"{name}_sum"]


async def test_a_loop_that_is_held_up_is_late() -> None:
    metrics, beats = Metrics(), asyncio.Event()
    lag = LoopLag(metrics, beats.set)
    lag.start()
    time.sleep(EVERY_S + 0.5)  # the very thing that it is to see
    await beats.wait()
    count, seconds = noted(metrics)
    assert count == 1
    assert seconds >= 0.49
    lag.stop()
    lag.stop()


async def test_what_breaks_in_a_beat_does_not_end_it() -> None:
    metrics, beats, done = Metrics(), 0, asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 2:
            done.set()
        raise ValueError("a fault of ours")

    lag = LoopLag(metrics, beat)
    lag.start()
    await done.wait()
    lag.stop()
    assert noted(metrics)[0] == 2
