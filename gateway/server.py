"""`gateway serve`: the engine's supervisor and the HTTP server around the application."""

import ctypes
import importlib.util
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from gateway.settings import Settings
from providers.diffusers_modal.supervisor import EngineSupervisor

__all__ = ["DRAIN_SIGNAL", "PortTakenError", "engine_supervisor", "follow_parent", "serve"]

HEADER_READ_TIMEOUT_MS = 10_000
ENGINE_ORPHAN_EXIT_S = 60
"""A gateway that was killed and is back within a minute finds its engine, and the job in it."""

ENGINE_START_S = 15.0

PR_SET_PDEATHSIG = 1

DRAIN_SIGNAL = signal.SIGUSR1
"""To a worker: stop is near, answer who waits."""

log = logging.getLogger(__name__)


class PortTakenError(Exception):
    """The address cannot be listened on."""


class Server(MPServer):
    """The HTTP server, which tells its workers of a stop before it waits for their requests."""

    def shutdown(self, exit_code: int = 0) -> None:
        """Let waiting requests be answered, then end the workers."""
        for worker in self.wrks:
            if worker.inner.is_alive():
                os.kill(worker.inner.pid, DRAIN_SIGNAL)
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]  # granian's is untyped


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Call it from the main thread, holding the data folder."""
    check_port(settings)
    # Not a fork of this process: it has threads, and had a database open.
    multiprocessing.set_start_method("spawn", force=True)
    supervisor = engine_supervisor(settings)
    if supervisor is not None:
        supervisor.start()
        if not supervisor.wait_ready(ENGINE_START_S):
            log.warning("the engine does not answer yet; %s says why", settings.data_dir / "engine.log")
    try:
        Server(
            "gateway.app:create_asgi",
            factory=True,
            interface=Interfaces.ASGI,
            address=settings.host,
            port=settings.port,
            workers=settings.workers,
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_READ_TIMEOUT_MS),
            workers_kill_timeout=max(1, round(settings.shutdown_grace_s)),
            log_level=LogLevels.warning,
        ).serve()
    finally:
        if supervisor is not None:
            supervisor.stop()


def engine_supervisor(settings: Settings) -> EngineSupervisor | None:
    """What keeps this machine's diffusers engine alive; None when an engine elsewhere is set, or
    when this gateway was installed without diffusers.
    """
    if settings.env.get("GATEWAY_ENGINE") or importlib.util.find_spec("diffusers") is None:
        return None
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
