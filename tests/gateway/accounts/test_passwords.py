"""What may be a password, and how many are checked at once."""

import asyncio
import threading

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from gateway.accounts.passwords import AT_ONCE, WAITING, Passwords, check_password
from gateway.problems import Problem

GOOD = "violet hammock tundra 42"
EMAIL = "ann.miller@example.org"


@pytest.mark.parametrize(
    "password",
    ["short1!", "password1234", "aaaaaaaaaaaaaaaa", "qwertyuiop123", "ann.miller2026", "x" * 257, ""],
)
def test_what_is_easily_guessed_is_refused_with_a_reason(password) -> None:
    with pytest.raises(Problem) as caught:
        check_password(password, EMAIL)
    (fault,) = caught.value.document.errors
    assert (caught.value.document.code, fault.pointer) == ("weak_password", "/password")
    assert "12 to 256 characters" in fault.allowed
    assert fault.message
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize(
    "password", [GOOD, "Xk9#mQ2$vL5&", "grüne wiese mit schafen", "x8" * 3 + " plover idle nut" * 15]
)
def test_what_is_not_is_taken(password) -> None:
    check_password(password, EMAIL)


@pytest.fixture
def quick() -> Passwords:
    """The same work with less memory, so that tests are quick."""
    return Passwords(PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),)))


async def test_a_password_is_its_own_alone(quick) -> None:
    kept = await quick.hash(GOOD)
    assert kept.startswith("$argon2id$")
    assert GOOD not in kept
    assert kept != await quick.hash(GOOD)
    assert await quick.check(GOOD, kept) == (True, None)
    assert (await quick.check(GOOD + "!", kept))[0] is False
    assert await quick.check(GOOD, None) == (False, None)
    assert await quick.check("x" * 300_000, kept) == (False, None)


async def test_the_defaults_are_dear() -> None:
    kept = await Passwords().hash(GOOD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_hash_of_old_parameters_is_replaced(quick) -> None:
    kept = await quick.hash(GOOD)
    right, better = await Passwords().check(GOOD, kept)
    assert right
    assert better is not None
    assert "m=65536" in better


async def test_no_more_than_a_few_at_once_and_no_more_than_some_wait() -> None:
    running, most, go = 0, 0, threading.Event()
    lock = threading.Lock()

    class Slow:
        def hash(self, password: str) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            go.wait(20)
            with lock:
                running -= 1
            return "x"

    passwords = Passwords(Slow())  # type: ignore[arg-type]  # as much of a hasher as is called
    tasks = [asyncio.create_task(passwords.hash(GOOD)) for _ in range(WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        await passwords.hash(GOOD)
    assert (caught.value.document.code, caught.value.headers["Retry-After"]) == ("too_busy", "1")
    go.set()
    assert await asyncio.gather(*tasks) == ["x"] * WAITING
    assert most <= AT_ONCE
    assert await passwords.hash(GOOD) == "x"
