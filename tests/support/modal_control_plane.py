"""Our own Modal: a control plane on loopback that the real client deploys to and calls.

    with ControlPlane(folder) as plane:
        subprocess.run(["modal", "deploy", ...], env=os.environ | plane.env)

It speaks gRPC as Modal does, keeps deployed apps and calls from one client process to the next,
and runs each container as a real process from the files that the deploy uploaded. It is stricter
than Modal: see `modal_rpc.py` for what it answers to anything it does not know.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import modal._serialization
from grpclib import Status
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from modal_proto import api_pb2
from support.modal_containers import Container, retire, schedule
from support.modal_deploy_rpcs import DeployRpcs
from support.modal_shared_rpcs import BlobServer
from support.modal_state import Call, Fault, Function, State

T = TypeVar("T")

TOKEN = ("ak-test", "as-test")


class _Server(Server):
    """Closing it breaks the connections that are open, as when a machine goes away."""

    def __init__(self, handlers: list[Any]) -> None:
        super().__init__(handlers)
        self._open: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._open.append(protocol)
        return protocol

    def close(self) -> None:
        super().close()
        for protocol in self._open:
            # Those that their clients closed have none any more.
            transport = getattr(getattr(protocol, "connection", None), "_transport", None)
            if transport is not None:
                transport.abort()


class ControlPlane:
    """Serves on a thread of its own between `__enter__` and `__exit__`.

    Args:
        folder: an empty folder for containers and volumes.
        container_env: more environment for every container.
    """

    def __init__(self, folder: Path, container_env: dict[str, str] | None = None) -> None:
        self.state = State(folder=folder, token=TOKEN, container_env=container_env or {})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modal-plane", daemon=True)
        self._server: _Server
        self._blobs = BlobServer(self.state)
        self.url = ""

    def __enter__(self) -> "ControlPlane":
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self, port: int = 0) -> None:
        if not self._blobs.running:
            await self._blobs.start()
        self._server = _Server([DeployRpcs(self.state)])
        await self._server.start("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self.state.closing.set()
        await self._go_away()
        for function in self.state.functions.values():
            function.queue.clear()
            for container in function.containers:
                container.kill()
        while any(function.containers or function.starting for function in self.state.functions.values()):
            await asyncio.sleep(0.02)
        await self._blobs.close()

    async def _go_away(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a client process."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": TOKEN[0],
            "MODAL_TOKEN_SECRET": TOKEN[1],
            "MODAL_CONFIG_PATH": str(self.state.folder / "no-such.toml"),
        }

    @property
    def count(self) -> Counter[str]:
        """Requests by RPC, those that were answered with an error included."""
        return self.state.count

    @property
    def violations(self) -> list[str]:
        """What no client of ours may do, and what failed in here. Empty at the end of a test."""
        return self.state.violations

    @property
    def calls(self) -> list[Call]:
        return list(self.state.calls.values())

    def function(self, name: str) -> Function:
        """By its class's or its own name."""
        return next(function for function in self.state.functions.values() if function.name == name)

    def containers(self, name: str) -> list[Container]:
        return list(self.function(name).containers)

    def progress(self) -> dict[str, Any]:
        """What stands in the only dictionary."""
        (entries,) = self.state.dicts.values() or ({},)
        load = modal._serialization.deserialize
        return {load(key, None): load(value, None) for key, value in list(entries.items())}

    def fail(self, rpc: str, status: Status, times: int = 1, *, after: bool = False) -> None:
        """The next requests of an RPC fail; `after` they did their work, so the answer is lost."""
        self.state.faults[rpc].extend(Fault(status, after) for _ in range(times))

    def slow(self, rpc: str, seconds: float) -> None:
        """Answers of an RPC take this long from now on; `PUT blob` is one too."""
        self.state.delays[rpc] = seconds

    def slow_start(self, seconds: float) -> None:
        """Containers need this long before their process starts."""
        self.state.start_delay_s = seconds

    def heal(self) -> None:
        """No faults, no delays."""
        self.state.faults.clear()
        self.state.delays.clear()
        self.state.start_delay_s = 0.0

    def expire(self, call_id: str) -> None:
        """Modal has let go of a result."""
        self.state.calls[call_id].expired = True

    def set_timeout(self, name: str, seconds: int) -> None:
        """A function's timeout from now on, as a deploy with another one sets it."""
        self.function(name).definition.timeout_secs = seconds

    def set_token(self, token: tuple[str, str]) -> None:
        """What clients must carry from now on."""
        self.state.token = token

    def kill(self, name: str) -> None:
        """SIGKILL for the containers of a function."""
        self._do(self._kill(name))

    async def _kill(self, name: str) -> None:
        for container in self.containers(name):
            container.kill()

    def retire(self, name: str) -> None:
        """The containers of a function end, as after an idle time or a deploy."""
        self._do(self._retire(name))

    async def _retire(self, name: str) -> None:
        retire(self.function(name))
        await schedule(self.state, self.function(name))

    def go_away(self) -> None:
        """Nobody listens any more; what was deployed and called stays."""
        self._do(self._go_away())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self._do(self._start(int(self.url.rsplit(":", 1)[1])))

    def wait(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Until the condition holds; says what the containers wrote when it does not come true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain\n{self.logs()}"
            time.sleep(0.02)

    def logs(self) -> str:
        """The last lines of each container that ever ran."""
        parts = []
        for log in sorted(self.state.folder.glob("containers/*/log")):
            parts.append(
                f"--- {log.parent.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            )
        return "\n".join(parts)


def image_commands(plane: ControlPlane) -> list[str]:
    """Every Dockerfile line of every image layer, in the order of the builds."""
    images: list[api_pb2.Image] = list(plane.state.images.values())
    return [line for image in images for line in image.dockerfile_commands]
