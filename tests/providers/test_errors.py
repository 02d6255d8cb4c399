"""The tree of what can go wrong at a provider."""

import pickle

import pytest

import providers.errors as errors
from providers.errors import ProviderError, by_code


def tree(cls: type[ProviderError] = ProviderError) -> list[type[ProviderError]]:
    return [cls] + [found for sub in cls.__subclasses__() for found in tree(sub)]


OURS = [cls for cls in tree() if cls.__module__ == errors.__name__]

# class: (HTTP status, retry_same, try_next)
FLAGS = {
    "ProviderError": (502, False, False),
    "CredentialsRejected": (502, False, False),
    "ProviderQuota": (503, False, True),
    "RateLimited": (503, True, True),
    "RequestRejected": (422, False, False),
    "ContentRejected": (422, False, False),
    "TargetUnavailable": (502, False, True),
    "ProviderUnavailable": (503, True, True),
    "ProviderFailed": (502, False, True),
    "ProviderTimeout": (504, False, False),
    "JobLost": (502, False, False),
    "JobCanceled": (409, False, False),
    "OutputFetchFailed": (502, False, False),
    "MalformedOutput": (502, False, False),
    "NotTaken": (502, False, False),
    "SubmitUnknown": (502, False, False),
}


def test_the_flags_are_these() -> None:
    assert {c.__name__: (c.http_status, c.retry_same, c.try_next) for c in OURS} == FLAGS


def test_codes_are_unique_and_found() -> None:
    codes = [cls.code for cls in OURS]
    assert len(set(codes)) == len(codes)
    assert [by_code(code) for code in codes] == OURS


def test_an_unknown_code_is_the_root() -> None:
    assert by_code("of another version") is ProviderError


@pytest.mark.parametrize("cls", OURS)
def test_an_error_survives_a_pickle(cls: type[ProviderError]) -> None:
    error = cls("what happened", provider="fal", retry_after=1.5, raw="said so")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is cls
    assert vars(back) == vars(error)
    assert str(back) == "what happened"


@pytest.mark.parametrize("name", sorted(FLAGS))
def test_the_docstring_draws_every_class(name: str) -> None:
    (line,) = (row for row in (errors.__doc__ or "").splitlines() if row.strip(" |-`").split(" ")[0] == name)
    status, retry_same, try_next = FLAGS[name]
    if name != "ProviderError":
        assert str(status) in line
        assert ("retry_same" in line, "try_next" in line) == (retry_same, try_next)


def test_all_of_them_are_public() -> None:
    assert {*FLAGS, "all_errors", "by_code"} == set(errors.__all__)
