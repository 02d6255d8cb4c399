"""When to look at a job."""

import pytest

from gateway.jobs.cadence import LATEST_S, SOONEST_S, Cadence


def looks(cadence: Cadence, seconds: float) -> list[float]:
    """When a job that takes so long is looked at."""
    times = [0.0]
    while times[-1] < seconds:
        times.append(times[-1] + cadence.delay_s("e", times[-1]))
    return times


@pytest.mark.parametrize(
    ("elapsed", "delay"), [(0, SOONEST_S), (1, 0.1), (5, 0.5), (60, LATEST_S), (9999, LATEST_S)]
)
def test_an_unknown_endpoint_goes_by_the_jobs_age(elapsed: float, delay: float) -> None:
    assert Cadence().delay_s("e", elapsed) == delay


def test_what_is_usual_is_learned_and_followed() -> None:
    cadence = Cadence()
    assert cadence.usual_s("e") is None
    for _ in range(30):
        cadence.ended("e", 10.0)
    assert cadence.usual_s("e") == pytest.approx(10)
    for _ in range(30):
        cadence.ended("e", 20.0)
    assert cadence.usual_s("e") == pytest.approx(20, rel=0.01)
    assert cadence.usual_s("other") is None


@pytest.mark.parametrize("takes", [1.0, 8.0, 30.0])
def test_a_known_endpoint_is_asked_less_and_found_as_soon(takes: float) -> None:
    fresh, wise = Cadence(), Cadence()
    wise.ended("e", takes)
    assert len(looks(wise, takes)) < 0.8 * len(looks(fresh, takes))
    late = looks(wise, takes)[-1] - takes
    assert late <= max(0.11 * takes, SOONEST_S)


def test_a_job_that_outlives_what_is_usual_is_looked_at_by_its_age() -> None:
    cadence = Cadence()
    cadence.ended("e", 3.0)
    assert cadence.delay_s("e", 30.0) == LATEST_S
    assert cadence.delay_s("e", 4.0) == 0.4
