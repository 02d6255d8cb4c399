"""The operator's key: whoever may read the data folder of a running gateway may run its commands.

A gateway makes a new one at each start, in a file that nobody else can read, and removes it at the
end. So the command line needs no key on the machine itself, and a file that a killed gateway left
behind opens nothing. The file says where its gateway listens: the key is sent nowhere else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.accounts.keys import new_operator_key
from gateway.ambient import Ambient

__all__ = ["OperatorKey", "operator_key", "read_operator_key"]

NAME = "operator.json"


class OperatorKey(Struct, frozen=True, kw_only=True):
    """The key, and where its gateway listens."""

    key: str
    url: str

    def __repr__(self) -> str:
        return f"OperatorKey(url={self.url!r})"


@contextmanager
def operator_key(data_dir: Path, url: str, ambient: Ambient) -> Iterator[OperatorKey]:
    """Make the key, and keep it in the folder for as long as the block runs.

    Args:
        data_dir: the folder, which the caller holds.
        url: where the gateway listens, as this machine reaches it.
        ambient: the source of the key.
    """
    path = data_dir / NAME
    made = OperatorKey(key=new_operator_key(ambient.secret), url=url)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(made))
    try:
        yield made
    finally:
        path.unlink(missing_ok=True)


def read_operator_key(data_dir: Path) -> OperatorKey | None:
    """The key of the gateway that runs on a folder; None when there is none that we may read."""
    try:
        return msgspec.json.decode((data_dir / NAME).read_bytes(), type=OperatorKey)
    except (FileNotFoundError, NotADirectoryError, PermissionError, msgspec.DecodeError):
        # A file that is just being written cannot be decoded yet: its gateway does not listen yet.
        return None
