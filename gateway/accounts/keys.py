"""The form of an API key: `igw_<id>_<secret><checksum>`, all base62.

The id (12 characters) finds the row; of the secret (43 characters, 256 bits) only a SHA-256 is kept:
OWASP ASVS 5.0 row 6.5.2 asks for a slow hash only below 112 bits. The checksum (6 characters,
CRC-32) tells a mistyped key without a look at the database, and lets scanners find leaked keys.
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable

from msgspec import Struct

__all__ = [
    "PREFIX",
    "NewKey",
    "checksum",
    "is_key_of",
    "new_key",
    "new_operator_key",
    "random_text",
    "read_key",
]

PREFIX = "igw_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_SIZE, SECRET_SIZE, CHECK_SIZE = 12, 43, 6
FORM = re.compile(
    rf"(?P<said>igw_(?P<id>[0-9A-Za-z]{{{ID_SIZE}}})_(?P<secret>[0-9A-Za-z]{{{SECRET_SIZE}}}))"
    rf"(?P<check>[0-9A-Za-z]{{{CHECK_SIZE}}})"
)

Random = Callable[[int], bytes]
"""So many random bytes."""


class NewKey(Struct, frozen=True, kw_only=True):
    """A key that was just made. `text` is shown once and kept nowhere."""

    id: str
    text: str
    digest: str
    """SHA-256 of the secret, hexadecimal."""

    def __repr__(self) -> str:
        return f"NewKey(id={self.id!r})"


def new_key(random: Random) -> NewKey:
    """Make a key.

    Args:
        random: the source of its bytes.
    """
    key_id, secret = random_text(random, ID_SIZE), random_text(random, SECRET_SIZE)
    said = f"{PREFIX}{key_id}_{secret}"
    return NewKey(id=key_id, text=said + checksum(said), digest=_digest(secret))


def new_operator_key(random: Random) -> str:
    """The key of whoever may read the data folder of a running gateway; it is in no table."""
    return f"{PREFIX}operator_{random_text(random, SECRET_SIZE)}"


def read_key(text: str) -> tuple[str, str] | None:
    """A key's id and the digest of its secret; None when it is no key, or mistyped."""
    found = FORM.fullmatch(text)
    if found is None or found["check"] != checksum(found["said"]):
        return None
    return found["id"], _digest(found["secret"])


def is_key_of(digest: str, kept: str) -> bool:
    """Whether two digests are one, in the same time whatever they have in common."""
    return hmac.compare_digest(digest, kept)


def random_text(random: Random, size: int) -> str:
    """So many characters, base62, each as likely as any other.

    A byte beyond the last whole multiple of 62 is thrown away.
    """
    text = ""
    while len(text) < size:
        text += "".join(ALPHABET[byte % 62] for byte in random(size) if byte < 248)
    return text[:size]


def checksum(text: str) -> str:
    """Six characters that tell a mistyped key: CRC-32 of all that stands before them."""
    left, out = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_SIZE):
        left, digit = divmod(left, 62)
        out = ALPHABET[digit] + out
    return out


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
