"""The engine as a process of its own: `gateway engine`.

One engine a data folder: it holds `engine.lock` (flock) while it lives, and tells where it
listens in `engine.json`. An engine that a gateway started ends itself when that gateway is gone
and nobody has asked it anything for a while; a gateway that comes back sooner adopts it, with
the job that it runs.
"""

import argparse
import asyncio
import fcntl
import logging
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from providers.diffusers_modal.address import EngineAddress, engine_version, remove_address, write_address
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.levers import UnknownLeverError, read_levers
from providers.diffusers_modal.logs import configure_logs
from providers.diffusers_modal.server import EngineServer, serve
from providers.diffusers_modal.supervisor import LOCK_NAME, PARENT_VARIABLE, EngineSupervisor

__all__ = ["EngineRunningError", "EngineSupervisor", "main", "run_engine"]

_logger = logging.getLogger(__name__)

_LOCK_WAIT_S = 1.0


class EngineRunningError(Exception):
    """An engine runs for this data folder already."""


def run_engine(
    data_dir: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    *,
    orphan_exit_s: float | None = None,
    warm: bool = False,
    threads: int | None = None,
) -> None:
    """Serve an engine until SIGTERM or SIGINT. Call it from the main thread.

    Args:
        data_dir: gets `engine.json`, `engine.lock` and the folder `models`; made if missing.
        host: address to listen on. Whoever holds the token can run jobs; there is no TLS.
        port: 0 for a free one.
        token: what requests must carry; a random one when not given.
        orphan_exit_s: end when the parent process is gone and no request has come for this
            many seconds; None never does.
        warm: import torch and diffusers before the first job comes.
        threads: CPU threads of an operation; see `Engine`.

    Raises:
        EngineRunningError: another engine has this folder.
        UnknownLeverError: DIFFUSERS_LEVERS names one that there is not.
        OSError: the address cannot be had.
    """
    levers = read_levers(os.environ.get("DIFFUSERS_LEVERS", ""))
    parent = int(os.environ.pop(PARENT_VARIABLE, "0")) or os.getppid()
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = _take_lock(data_dir)
    token = token or secrets.token_urlsafe(32)
    engine = Engine(threads=threads, levers=levers)

    async def live() -> bool:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        watch: asyncio.Task[None] | None = None

        def ready(server: EngineServer, bound: int) -> None:
            nonlocal watch
            write_address(
                data_dir,
                EngineAddress(
                    host=host,
                    port=bound,
                    token=token,
                    pid=os.getpid(),
                    version=engine_version(),
                    supervised=orphan_exit_s is not None,
                ),
            )
            _logger.info("the engine listens on %s:%d", host, bound)
            if warm:
                server.warm()
            if orphan_exit_s is not None:
                watch = asyncio.create_task(_watch_parent(server, parent, orphan_exit_s, stop))

        idle = await serve(engine, host, port, token, stop=stop, on_ready=ready, version=engine_version())
        if watch is not None:
            await watch
        return idle

    try:
        idle = asyncio.run(live())
    finally:
        remove_address(data_dir, token)
        os.close(lock)
    if not idle:
        # The worker is inside a load that nothing can interrupt, and Python would wait for it.
        _logger.info("ended while weights were being loaded")
        logging.shutdown()
        os._exit(0)


def _take_lock(data_dir: Path) -> int:
    descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Not at the first refusal: a supervisor's look takes the lock for an instant, and a
    # predecessor may be on its way out.
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise EngineRunningError(f"An engine already runs for {data_dir}.") from None
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


async def _watch_parent(server: EngineServer, parent: int, orphan_exit_s: float, stop: asyncio.Event) -> None:
    """Set `stop` once the parent is gone and requests have stopped coming."""
    while not stop.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(min(1.0, orphan_exit_s / 4)):
                await stop.wait()
        quiet_s = time.monotonic() - server.last_request
        # A child of a dead process gets another parent: the process 1 or a subreaper.
        if os.getppid() != parent and quiet_s >= orphan_exit_s:
            _logger.info("the gateway is gone and nobody asks: ending")
            stop.set()


def main() -> None:
    """Command line of an engine without the gateway's: the same options as `gateway engine`."""
    parser = argparse.ArgumentParser(description="Run the diffusers engine.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--orphan-exit", type=float, metavar="SECONDS")
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    configure_logs()
    try:
        run_engine(
            options.data_dir,
            options.host,
            options.port,
            os.environ.get("GATEWAY_ENGINE_TOKEN"),
            orphan_exit_s=options.orphan_exit,
            warm=options.warm,
        )
    except (EngineRunningError, UnknownLeverError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
