"""Passwords: what may be one, and how it is kept.

Kept as argon2id (the library's recommended parameters: 64 MiB and three passes each, which is
what makes guessing dear). So is checking them: no more than `AT_ONCE` run at a time, and no more
than `WAITING` wait, else a flood of sign-ins would take the machine's memory.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from gateway.problems import Problem
from registry.errors import Fault

__all__ = ["MAX_LENGTH", "MIN_LENGTH", "Passwords", "check_password"]

T = TypeVar("T")

MIN_LENGTH, MAX_LENGTH = 12, 256
"""Characters. OWASP ASVS 5.0 rows 6.2.1 and 6.2.9."""
_LOOKED_AT = 72
"""The estimate of a longer password's strength is that of its beginning: it takes quadratic time."""
_ENOUGH = 3
"""Of 0 to 4: "safely unguessable", 10^8 guesses and more."""
AT_ONCE, WAITING = 2, 16
ALLOWED = f"{MIN_LENGTH} to {MAX_LENGTH} characters that are hard to guess; several unrelated words will do"


def check_password(password: str, email: str, at: str = "/password") -> None:
    """Refuse a password that is too short, too long or easily guessed.

    Args:
        password: the new password.
        email: whose; what is in it counts as guessed.
        at: its JSON pointer in the request.

    Raises:
        Problem: `weak_password`, with what would be better.
    """
    # Here and not above: its word lists take 30 ms to load, and no other command needs them.
    from zxcvbn import zxcvbn

    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise _weak(f"it has {len(password)} characters", at)
    name, _, domain = email.partition("@")
    found = zxcvbn(
        password[:_LOOKED_AT], user_inputs=[email, name, domain.partition(".")[0], "image", "gateway"]
    )
    if found["score"] < _ENOUGH:
        feedback = found["feedback"]
        said = [feedback["warning"], *feedback["suggestions"]]
        raise _weak(" ".join(text.rstrip(".") + "." for text in said if text) or "it is easily guessed", at)


def _weak(why: str, at: str) -> Problem:
    fault = Fault(pointer=at, code="weak_password", message=why, allowed=ALLOWED)
    return Problem("weak_password", f"{at}: {why.rstrip('.')}. Allowed: {ALLOWED}", errors=[fault])


class Passwords:
    """Makes and checks the hashes, in threads, a few at a time.

    Args:
        hasher: how; argon2id with the library's parameters when not given.
    """

    def __init__(self, hasher: PasswordHash | None = None) -> None:
        self._hasher = hasher or PasswordHash((Argon2Hasher(),))
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        # Of no password: what a wrong address is checked against, so that it takes as long as a right one.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """What to keep of a password.

        Raises:
            Problem: `too_busy`.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def check(self, password: str, kept: str | None) -> tuple[bool, str | None]:
        """Whether a password is the one that was kept; and what to keep instead, where that is out of date.

        Args:
            password: as it was sent.
            kept: what `hash` made; None when there is nobody: that takes as long, and is wrong.

        Raises:
            Problem: `too_busy`.
        """
        if len(password) > MAX_LENGTH:
            password, kept = "", None
        if kept is None:
            if self._nobody is None:
                self._nobody = await self.hash("nobody has this password")
            await self._run(lambda: self._hasher.verify(password, self._nobody or ""))
            return False, None
        return await self._run(lambda: self._hasher.verify_and_update(password, kept))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise Problem(
                "too_busy",
                "Too many passwords are being checked at this moment; send it again in a second",
                headers={"Retry-After": "1"},
                retryable=True,
            )
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
