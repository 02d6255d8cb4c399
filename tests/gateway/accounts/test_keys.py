"""The form of an API key."""

import hashlib
import re
from collections import Counter

import pytest

from gateway.accounts.keys import ALPHABET, is_key_of, new_key, new_operator_key, read_key
from gateway.ambient import Ambient

RANDOM = Ambient().secret


def test_a_key_reads_back() -> None:
    key = new_key(RANDOM)
    assert re.fullmatch(r"igw_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", key.text)
    assert read_key(key.text) == (key.id, key.digest)
    assert key.digest == hashlib.sha256(key.text.split("_")[2][:43].encode()).hexdigest()


def test_a_key_of_known_bytes() -> None:
    """The form is for ever: a change of it would lock everybody out."""
    key = new_key(lambda size: bytes(range(1, size + 1)))
    assert key.text == "igw_123456789ABC_" + ALPHABET[1:44] + "48wLUc"
    assert read_key(key.text) == ("123456789ABC", key.digest)


@pytest.mark.parametrize("at", [0, 4, 9, 16, 17, 40, 59, 60, 65])
def test_one_wrong_character_is_seen(at) -> None:
    text = new_key(RANDOM).text
    assert read_key(text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]) is None


@pytest.mark.parametrize(
    "change", [str.lower, lambda t: t[:-1], lambda t: t + "0", lambda t: f" {t}", lambda t: t + "\n"]
)
def test_what_is_no_key(change) -> None:
    assert read_key(change(new_key(RANDOM).text)) is None


@pytest.mark.parametrize(
    "text", ["", "igw_", "igw__", "sk-123", new_operator_key(bytes), "igw_é", "0" * 5000]
)
def test_what_is_of_another_form(text) -> None:
    assert read_key(text) is None


def test_no_two_are_alike_and_no_character_is_rare() -> None:
    keys = [new_key(RANDOM) for _ in range(400)]
    assert len({key.text for key in keys}) == len({key.id for key in keys}) == 400
    seen = Counter("".join(key.text.split("_")[2][:43] for key in keys))
    # 17,200 characters, 277 of each expected; a byte taken modulo 62 would make eight of them a quarter
    # more frequent than the rest. Six standard deviations either way.
    assert set(seen) == set(ALPHABET)
    assert 177 < min(seen.values()) <= max(seen.values()) < 377


def test_a_key_does_not_show_itself() -> None:
    key = new_key(RANDOM)
    assert key.text not in repr(key)
    assert key.text not in str(key)


def test_digests() -> None:
    assert is_key_of("a" * 64, "a" * 64)
    assert not is_key_of("a" * 64, "a" * 63 + "b")
