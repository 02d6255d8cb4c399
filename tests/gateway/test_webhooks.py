"""Addresses for providers to call: each for one attempt, and made only when they can be reached."""

import pytest

from gateway.secret import Signer
from gateway.settings import SettingsError, load_settings
from gateway.webhooks import NO_WEBHOOKS, Webhooks, webhook_base

OLD, NEW = b"1" * 32, b"2" * 32
PUBLIC = {"GATEWAY_PUBLIC_URL": "https://images.example.org/gw/", "GATEWAY_AUTH": "required"}


def made_by(*secrets: bytes, purpose: str = "webhook") -> Webhooks:
    return Webhooks(Signer(secrets, purpose), "https://a.org/gw")


def secret_of(hooks: Webhooks, attempt_id: str = "att_1") -> str:
    address = hooks.address("fal", attempt_id)
    assert address is not None
    place, _, secret = address.rpartition("/")
    assert place == "https://a.org/gw/webhooks/fal"
    return secret


def test_an_address_is_for_its_attempt() -> None:
    hooks = made_by(OLD)
    first, second = secret_of(hooks), secret_of(hooks, "att_2")
    assert (hooks.attempt_of("fal", first), hooks.attempt_of("fal", second)) == ("att_1", "att_2")
    swapped = "att_2." + first.partition(".")[2]
    for wrong in (
        "",
        ".",
        "att_1",
        "att_1.",
        first[:-1],
        first + "A",
        swapped,
        first + "é",
        "\ud800." + first,
    ):
        assert hooks.attempt_of("fal", wrong) is None
    assert hooks.attempt_of("other", first) is None


def test_it_is_a_secret_of_this_gateway_and_of_this_purpose() -> None:
    first = secret_of(made_by(OLD))
    assert made_by(NEW).attempt_of("fal", first) is None
    assert made_by(OLD, purpose="image").attempt_of("fal", first) is None


def test_an_older_secret_still_verifies() -> None:
    first = secret_of(made_by(OLD))
    assert made_by(NEW, OLD).attempt_of("fal", first) == "att_1"
    assert secret_of(made_by(NEW, OLD)) == secret_of(made_by(NEW))


def test_others_are_told_nothing() -> None:
    assert made_by(OLD).address("diffusers_modal", "att_1") is None
    assert NO_WEBHOOKS.address("fal", "att_1") is None


@pytest.mark.parametrize(
    ("env", "base"),
    [
        ({}, None),
        (PUBLIC, "https://images.example.org/gw"),
        ({**PUBLIC, "FAL_WEBHOOKS": "off"}, None),
        ({**PUBLIC, "GATEWAY_PUBLIC_URL": "http://images.example.org"}, None),
        ({**PUBLIC, "GATEWAY_PUBLIC_URL": "https://gateway.internal"}, None),
        ({**PUBLIC, "GATEWAY_PUBLIC_URL": "https://10.0.0.7"}, None),
        ({**PUBLIC, "GATEWAY_PUBLIC_URL": "https://[::1]"}, None),
        # In open mode the guard does not answer to a name that it was not told.
        ({**PUBLIC, "GATEWAY_AUTH": "open"}, None),
        ({**PUBLIC, "GATEWAY_AUTH": "open", "GATEWAY_ALLOWED_HOSTS": "other.org"}, None),
        (
            {**PUBLIC, "GATEWAY_AUTH": "open", "GATEWAY_ALLOWED_HOSTS": "Images.example.org"},
            "https://images.example.org/gw",
        ),
        ({"FAL_WEBHOOKS": "on"}, "http://127.0.0.1:8000"),
        (
            {"FAL_WEBHOOKS": "on", "GATEWAY_PUBLIC_URL": "https://gateway.internal"},
            "https://gateway.internal",
        ),
    ],
)
def test_what_the_addresses_begin_with(env: dict[str, str], base: str | None) -> None:
    assert webhook_base(load_settings(env)) == base


def test_they_never_go_over_plain_http() -> None:
    with pytest.raises(SettingsError, match="FAL_WEBHOOKS=on needs"):
        load_settings({"FAL_WEBHOOKS": "on", "GATEWAY_PUBLIC_URL": "http://images.example.org"})
