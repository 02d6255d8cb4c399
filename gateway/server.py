"""`gateway serve` and `gateway worker`: the engine's supervisor and the server around the application."""

import ctypes
import importlib.util
import logging
import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from gateway.observe.logs import dict_config
from gateway.observe.several import prepare
from gateway.settings import Settings
from providers.diffusers_modal.levers import read_levers
from providers.diffusers_modal.supervisor import EngineSupervisor

__all__ = [
    "APPLICATION",
    "DRAIN_SIGNAL",
    "RELOAD_SIGNAL",
    "WORKER_APPLICATION",
    "PortTakenError",
    "check_port",
    "engine_supervisor",
    "follow_parent",
    "serve",
]

APPLICATION = "gateway.app:create_asgi"
WORKER_APPLICATION = "gateway.app:create_worker_asgi"
HEADER_READ_TIMEOUT_MS = 10_000
HEADER_BYTES = 64 * 1024
"""Of a request's line and headers. The server answers 431 to more, and to more than 100 headers."""
ENGINE_ORPHAN_EXIT_S = 60
"""A gateway that was killed and is back within a minute finds its engine, and the job in it."""

ENGINE_START_S = 15.0

PR_SET_PDEATHSIG = 1

DRAIN_SIGNAL = signal.SIGUSR1
"""To a worker: stop is near, answer who waits."""

RELOAD_SIGNAL = signal.SIGHUP
"""To the server, which tells its workers: read the registry again."""

log = logging.getLogger(__name__)


class PortTakenError(Exception):
    """The address cannot be listened on."""


class Bell:
    """What the server's main loop sleeps on, of the shape of `threading.Event`; a signal rings it too.

    Python runs a signal's handler in the main thread. Asleep on an Event that one would not wake for
    a signal that the system gave to another thread, as it does when the process was suspended while
    the signal came; and a handler that sets an Event which the main thread is just about to sleep
    on waits for itself. Here is no lock: a byte comes, from the handler or from Python itself.

    Make it in the main thread; one a process. It lives as long as the handlers that ring it do, and
    Python writes to it until then.
    """

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        for end in (self._heard, self._rung):
            end.setblocking(False)
        signal.set_wakeup_fd(self._rung.fileno(), warn_on_full_buffer=False)

    def wait(self) -> None:
        """Sleep until it was rung since the last `clear`."""
        select.select([self._heard], [], [])

    def set(self) -> None:
        """Ring."""
        # What cannot be written to is rung already.
        with suppress(BlockingIOError):
            self._rung.send(b"\0")

    def clear(self) -> None:
        """Forget that it was rung."""
        with suppress(BlockingIOError):
            while True:
                self._heard.recv(4096)


class Server(MPServer):
    """The HTTP server, which tells its workers of a stop before it waits for their requests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.main_loop_interrupt = Bell()  # type: ignore[assignment]  # of the same shape

    def signal_handler_reload(self, *args: Any, **kwargs: Any) -> None:
        """In place of new workers, which a bad registry would keep from starting: the same read it again."""
        self.tell(RELOAD_SIGNAL)

    def tell(self, what: signal.Signals) -> None:
        """Send a signal to each worker that lives."""
        for worker in self.wrks:
            if worker.inner.is_alive():
                os.kill(worker.inner.pid, what)

    def shutdown(self, exit_code: int = 0) -> None:
        """Let waiting requests be answered, then end the workers."""
        self.tell(DRAIN_SIGNAL)
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]  # granian's is untyped


def serve(settings: Settings, supervisor: EngineSupervisor | None, application: str = APPLICATION) -> None:
    """Serve until SIGTERM or SIGINT. Call it from the main thread, holding the data folder.

    Args:
        settings: the settings, of which `check_port` found the port free.
        supervisor: `engine_supervisor`'s, not started yet.
        application: what each server process makes: `module:factory`.
    """
    # Not a fork of this process: it has threads, and had a database open.
    multiprocessing.set_start_method("spawn", force=True)
    prepare(settings.data_dir, settings.workers)
    if supervisor is not None:
        supervisor.start()
        if not supervisor.wait_ready(ENGINE_START_S):
            log.warning("the engine does not answer yet; %s says why", settings.data_dir / "engine.log")
    try:
        Server(
            application,
            factory=True,
            interface=Interfaces.ASGI,
            address=settings.host,
            port=settings.port,
            workers=settings.workers,
            websockets=False,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_READ_TIMEOUT_MS, max_buffer_size=HEADER_BYTES
            ),
            workers_kill_timeout=max(1, round(settings.shutdown_grace_s)),
            log_level=LogLevels.warning,
            log_dictconfig=dict_config(settings),
        ).serve()
    finally:
        if supervisor is not None:
            supervisor.stop()


def engine_supervisor(settings: Settings) -> EngineSupervisor | None:
    """What keeps this machine's diffusers engine alive; None when an engine elsewhere is set, when
    no jobs run here, or when this gateway was installed without diffusers.

    Raises:
        UnknownLeverError: DIFFUSERS_LEVERS names one that there is not. The engine would end at
            each start, and only its log would say why.
    """
    if settings.env.get("GATEWAY_ENGINE") or not settings.run_jobs:
        return None
    if importlib.util.find_spec("diffusers") is None:
        return None
    read_levers(settings.env.get("DIFFUSERS_LEVERS", ""))
    command = [
        sys.executable,
        "-m",
        "gateway",
        "engine",
        "--data-dir",
        str(settings.data_dir),
        "--orphan-exit",
        str(ENGINE_ORPHAN_EXIT_S),
        "--warm",
    ]
    return EngineSupervisor(settings.data_dir, command)


def check_port(settings: Settings) -> None:
    """See that nobody else listens there: the server shares its port among its processes, and
    would share it with a stranger's too.

    Raises:
        PortTakenError: somebody listens.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise PortTakenError(
                f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}); set GATEWAY_PORT"
            ) from error


def follow_parent() -> None:
    """Make a worker die with the server that started it, also when that was killed with SIGKILL.

    A worker that lived on would hold the port and write to a database that the next gateway
    believes to be its own.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
