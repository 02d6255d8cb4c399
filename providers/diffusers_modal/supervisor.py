"""Keeps an engine process alive for a gateway: adopts the one that runs, or starts one."""

import fcntl
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from providers.diffusers_modal.address import EngineAddress, ask_health, engine_version, read_address
from providers.diffusers_modal.wire import HealthReply

__all__ = ["LOCK_NAME", "PARENT_VARIABLE", "EngineSupervisor", "lock_is_held"]

_logger = logging.getLogger(__name__)

LOCK_NAME = "engine.lock"
"""Held by an engine while it lives; holds its pid as text."""
PARENT_VARIABLE = "GATEWAY_ENGINE_PARENT"
"""Tells a child who started it: by the time it asks, its parent may be gone already."""

_FIRST_BACKOFF_S = 0.2
_LAST_BACKOFF_S = 10.0
_STEADY_S = 30.0
"""An engine that lived this long starts the backoff anew."""
_MISSES = 10
"""Unanswered questions, a second apart, after which an adopted engine counts as stuck."""


class EngineSupervisor:
    """Runs in a synchronous parent process, with one thread of its own.

    Args:
        data_dir: the engine's; its output goes to `engine.log` there.
        command: starts an engine for that folder, with `--orphan-exit` so that it does not
            outlive a gateway that was killed.
        stop_grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, data_dir: Path, command: Sequence[str], *, stop_grace_s: float = 10.0) -> None:
        self._data_dir = data_dir
        self._command = list(command)
        self._stop_grace_s = stop_grace_s
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted: EngineAddress | None = None
        self._thread = threading.Thread(target=self._watch, name="engine-supervisor", daemon=True)

    def start(self) -> None:
        """Adopt the living engine of the folder or start one; returns without waiting for it.

        Raises:
            OSError: the command cannot be run.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._adopt_or_spawn()
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether the engine answers, waiting up to `timeout_s` seconds for it."""
        return _wait(lambda: self._found() is not None, timeout_s)

    @property
    def pid(self) -> int | None:
        """The engine's process, whether started or adopted."""
        if self._child is not None:
            return self._child.pid
        return None if self._adopted is None else self._adopted.pid

    def stop(self) -> None:
        """End the engine: SIGTERM, then SIGKILL. One that a person started is left alone."""
        self._stopping.set()
        with self._spawning:
            child = self._child
        if child is not None:
            child.terminate()
            self._thread.join(self._stop_grace_s)
            if self._thread.is_alive():
                child.kill()
        self._thread.join()
        if child is None and self._adopted is not None and self._adopted.supervised:
            self._end_adopted(self._adopted)
        self._child = self._adopted = None

    def _found(self) -> tuple[EngineAddress, HealthReply] | None:
        """The folder's engine, if it answers."""
        address = read_address(self._data_dir)
        health = None if address is None else ask_health(address)
        if address is None or health is None or health.pid != address.pid:
            return None
        return address, health

    def _adopt_or_spawn(self) -> None:
        with self._spawning:
            self._child = self._adopted = None
            if self._stopping.is_set():
                return
            found = self._found()
            if found is not None and found[1].version == engine_version():
                self._adopted = found[0]
                _logger.info("adopted the engine, pid %d", self._adopted.pid)
                return
            if found is not None and found[0].supervised:
                # A gateway of another version left it behind.
                self._end_adopted(found[0])
            self._child = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self._data_dir / "engine.log").open("ab") as log:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
                # A Ctrl-C in the terminal is for the gateway, which then ends its engine.
                start_new_session=True,
            )
        _logger.info("started the engine, pid %d", child.pid)
        return child

    def _watch(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while not self._stopping.is_set():
            since = time.monotonic()
            if self._child is not None:
                code = self._child.wait()
                _logger.info("the engine, pid %d, ended with %d", self._child.pid, code)
            elif self._adopted is not None:
                self._wait_adopted(self._adopted)
            if time.monotonic() - since > _STEADY_S:
                backoff = _FIRST_BACKOFF_S
            if self._stopping.wait(backoff):
                return
            _logger.warning("the engine is gone; starting it again")
            backoff = min(2 * backoff, _LAST_BACKOFF_S)
            try:
                self._adopt_or_spawn()
            except OSError:
                # No memory or no process to be had right now; the next turn tries again.
                _logger.exception("the engine could not be started")

    def _wait_adopted(self, address: EngineAddress) -> None:
        """Until it ends or is stuck. A stuck one is killed: its lock stops its successor."""
        misses = 0
        while not self._stopping.wait(1.0):
            if ask_health(address) is not None:
                misses = 0
                continue
            misses += 1
            if not lock_is_held(self._data_dir):
                return
            if misses >= _MISSES:
                self._kill_holder(address.pid)
                return

    def _end_adopted(self, address: EngineAddress) -> None:
        """End an engine that is not our child; its lock tells when it is gone."""
        if not self._holds_lock(address.pid):
            return
        os.kill(address.pid, signal.SIGTERM)
        if not _wait(lambda: not lock_is_held(self._data_dir), self._stop_grace_s):
            self._kill_holder(address.pid)
            _wait(lambda: not lock_is_held(self._data_dir), self._stop_grace_s)

    def _kill_holder(self, pid: int) -> None:
        if self._holds_lock(pid):
            os.kill(pid, signal.SIGKILL)

    def _holds_lock(self, pid: int) -> bool:
        """Whether this very process holds the lock: a number alone may be another's by now."""
        if not lock_is_held(self._data_dir):
            return False
        return (self._data_dir / LOCK_NAME).read_text() == str(pid)


def lock_is_held(data_dir: Path) -> bool:
    """Whether an engine lives for this folder."""
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # A shared lock: two that look at once do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
