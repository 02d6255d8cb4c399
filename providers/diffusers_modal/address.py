"""Where the engine of a data folder is: the file `engine.json`, and one question to it."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from providers.diffusers_modal.wire import (
    MAX_FROM_ENGINE,
    MAX_HELLO,
    Health,
    HealthReply,
    Hello,
    Reply,
    Welcome,
    WireError,
    decode_reply,
    encode,
    frame_length,
)

__all__ = [
    "NO_ENGINE",
    "EngineAddress",
    "ask_health",
    "engine_elsewhere",
    "engine_version",
    "read_address",
    "remove_address",
    "write_address",
]

NO_ENGINE = "none"
"""As `GATEWAY_ENGINE`: there is no engine, here or elsewhere."""
_NAME = "engine.json"


class EngineAddress(Struct, frozen=True, kw_only=True):
    """An engine to talk to. `token` opens it: the file is readable by its owner alone."""

    host: str
    port: int
    token: str
    pid: int = 0
    version: str = ""
    supervised: bool = False
    """Started by a gateway, which may end it; False for one that a person started."""

    def __repr__(self) -> str:
        return f"EngineAddress({self.host}:{self.port}, pid={self.pid})"


def engine_version() -> str:
    """The version that both ends must share to speak to each other."""
    try:
        return metadata.version("image-gateway")
    except metadata.PackageNotFoundError:
        return "source"


def engine_elsewhere(env: Mapping[str, str]) -> EngineAddress | None:
    """The engine that `GATEWAY_ENGINE` names; None when it names none.

    Raises:
        ValueError: it is not `host:port`.
    """
    remote = env.get("GATEWAY_ENGINE", "")
    if remote in ("", NO_ENGINE):
        return None
    host, port = _host_port(remote)
    return EngineAddress(host=host, port=port, token=env.get("GATEWAY_ENGINE_TOKEN", ""))


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"GATEWAY_ENGINE is {text!r}; it is host:port, as in gpu-box:7860.")
    return host.strip("[]"), int(port)


def read_address(data_dir: Path) -> EngineAddress | None:
    """What `engine.json` says; None when there is none or it is not whole."""
    try:
        return msgspec.json.decode((data_dir / _NAME).read_bytes(), type=EngineAddress)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_address(data_dir: Path, address: EngineAddress) -> None:
    """Put `engine.json` in place: whole or not at all, mode 0600."""
    # mkstemp makes files of mode 0600.
    descriptor, name = tempfile.mkstemp(prefix=f".{_NAME}-", dir=data_dir)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(address))
        Path(name).replace(data_dir / _NAME)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def remove_address(data_dir: Path, token: str) -> None:
    """Take `engine.json` away, if it is still the one with this token."""
    address = read_address(data_dir)
    if address is not None and address.token == token:
        (data_dir / _NAME).unlink(missing_ok=True)


def ask_health(address: EngineAddress, timeout_s: float = 2.0) -> HealthReply | None:
    """How the engine there is, for synchronous callers; None when it does not answer as one.

    Each socket operation waits `timeout_s` seconds at most.
    """
    try:
        with socket.create_connection((address.host, address.port), timeout=timeout_s) as connection:
            connection.sendall(encode(Hello(token=address.token), MAX_HELLO))
            with connection.makefile("rb") as stream:
                if not isinstance(_read_reply(stream), Welcome):
                    return None
                connection.sendall(encode(Health(), MAX_HELLO))
                reply = _read_reply(stream)
    except (OSError, WireError):
        # Nobody there, or someone who is no engine: the answer is the same to whoever asks.
        return None
    return reply if isinstance(reply, HealthReply) else None


def _read_reply(stream: BinaryIO) -> Reply:
    head = stream.read(4)
    return decode_reply(stream.read(frame_length(head, MAX_FROM_ENGINE)) if len(head) == 4 else b"")
