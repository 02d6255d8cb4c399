"""Who is left alone, for how long, and for whose fault."""

import pytest
from msgspec.structs import replace
from support.small_registry import small_catalog

from gateway.jobs.outliers import IN_A_ROW, LONGEST_S, SHUT_S, Outliers
from providers.errors import (
    ContentRejected,
    CredentialsRejected,
    ProviderError,
    ProviderFailed,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
)

CATALOG = small_catalog()
FIRST, SECOND = CATALOG.model("two").routes
BROKE = ProviderFailed("broke")


class Watch:
    def __init__(self) -> None:
        self.now = 100.0
        self.outliers = Outliers(lambda: self.now)

    def fail(self, times: int = IN_A_ROW, error: ProviderError = BROKE) -> None:
        for _ in range(times):
            self.outliers.failed(FIRST, error)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_five_in_a_row(watch) -> None:
    watch.fail(IN_A_ROW - 1)
    assert watch.outliers.shut(FIRST) is None
    watch.fail(1)
    assert watch.outliers.shut(FIRST) == "first/make failed 5 times in a row; it is tried again in 30 s"
    assert watch.outliers.shut(SECOND) is None


def test_what_succeeds_between_counts(watch) -> None:
    watch.fail(IN_A_ROW - 1)
    watch.outliers.succeeded(FIRST)
    watch.fail(IN_A_ROW - 1)
    assert watch.outliers.shut(FIRST) is None


@pytest.mark.parametrize("error", [ContentRejected("x"), RequestRejected("x"), RateLimited("x")])
def test_what_is_no_fault_of_theirs(watch, error) -> None:
    watch.fail(20, error)
    assert watch.outliers.shut(FIRST) is None


@pytest.mark.parametrize(
    ("error", "shut"), [(ProviderUnavailable("x"), True), (CredentialsRejected("x"), True), (BROKE, False)]
)
def test_a_whole_provider_or_an_endpoint_alone(watch, error, shut) -> None:
    watch.fail(IN_A_ROW, error)
    assert (watch.outliers.shut(replace(FIRST, endpoint="first/other")) is not None) is shut


def test_each_time_longer_and_then_shorter_again(watch) -> None:
    def left() -> float:
        watch.fail()
        seconds = 0.0
        while watch.outliers.shut(FIRST) is not None:
            watch.now += 1
            seconds += 1
        return seconds

    assert [left() for _ in range(12)] == [min(LONGEST_S, SHUT_S * n) for n in range(1, 13)]
    for _ in range(11):
        watch.outliers.succeeded(FIRST)
    assert left() == 2 * SHUT_S
