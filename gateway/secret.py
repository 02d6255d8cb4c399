"""The gateway's own secret, and what is signed with it: one derived key for each purpose.

A signature for one purpose is worth nothing for another. Several secrets may be set: the first
signs, all of them verify, so that a secret can be changed while links signed with the last one live.
"""

import base64
import hashlib
import hmac
import os
from pathlib import Path

from gateway.ambient import Ambient

__all__ = ["Signer", "load_secrets"]

NAME = "secret"
_BYTES = 32


def load_secrets(written: tuple[str, ...], data_dir: Path, ambient: Ambient) -> tuple[bytes, ...]:
    """The secrets of the settings; else the one in the data folder, made at the first start.

    Args:
        written: as in GATEWAY_SECRET.
        data_dir: exists.
        ambient: randomness.
    """
    if written:
        return tuple(text.encode() for text in written)
    path = data_dir / NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return (path.read_bytes(),)
    with os.fdopen(descriptor, "wb") as file:
        file.write(ambient.secret(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return (path.read_bytes(),)


class Signer:
    """Signs for one purpose.

    Args:
        secrets: of `load_secrets`; the first signs.
        purpose: names it, for ever: what was signed under another name does not verify.
    """

    def __init__(self, secrets: tuple[bytes, ...], purpose: str) -> None:
        self._keys = [
            hmac.digest(secret, b"image-gateway\0" + purpose.encode(), "sha256") for secret in secrets
        ]

    def sign(self, text: str) -> str:
        """43 characters for a URL: HMAC-SHA256 in base64url."""
        return _sign(self._keys[0], text)

    def derive(self, name: str) -> tuple[bytes, ...]:
        """A key of 32 bytes for a name, from each secret: the first is the one to sign with."""
        return tuple(hmac.digest(key, name.encode(), "sha256") for key in self._keys)

    def verify(self, text: str, signature: str) -> bool:
        """Whether one of our secrets signed this text for this purpose."""
        given = signature.encode()
        # All of them, whichever is right: how long it takes tells nothing.
        return any([hmac.compare_digest(_sign(key, text).encode(), given) for key in self._keys])


def _sign(key: bytes, text: str) -> str:
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
