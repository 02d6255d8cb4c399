"""Containers of our Modal control plane: real processes that run Modal's own entrypoint.

A container has the files that the deploy uploaded and nothing else of this repository, a copy of
each volume as it was committed last, the secrets' environment, and a server of its own to talk
to, by which the plane knows who asks.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto import api_pb2
from support.modal_shared_rpcs import SharedRpcs
from support.modal_state import Call, Function, Result, State

_HOME = "/root"
_POLL_S = 20.0


async def add_work(state: State, call: Call) -> None:
    """Queue a call, and see that a container comes for it."""
    call.function.queue.append(call)
    await schedule(state, call.function)


async def schedule(state: State, function: Function) -> None:
    """Wake the idle containers, and start one more when work waits and there may be one."""
    for container in function.containers:
        async with container.woken:
            container.woken.notify_all()
    free = [
        container for container in function.containers if container.call is None and not container.retired
    ]
    idle = len(free) + function.starting
    if function.backlog > idle and len(function.containers) + function.starting < function.most_containers:
        function.starting += 1
        task = asyncio.create_task(_live(state, function))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Task[None]] = set()


def retire(function: Function) -> None:
    """The containers end after the call that they run, if any."""
    for container in function.containers:
        container.retired = True
        if container.call is None:
            container.kill()


async def _live(state: State, function: Function) -> None:
    """A container's life, from its start to its process's end."""
    try:
        if await _closed_within(state, state.start_delay_s):
            return
        container = Container(state, function)
        await container.start()
    finally:
        function.starting -= 1
    function.containers.append(container)
    code = await asyncio.to_thread(container.process.wait)
    function.containers.remove(container)
    await container.close()
    died = Result(status=Result.GENERIC_STATUS_FAILURE, exception=f"Container exited with code {code}")
    if container.call is not None:
        await container.call.end(died)
    elif not container.asked and not container.killed:
        # It fell over before it asked for work, and its successor would too.
        while (call := function.take()) is not None:
            await call.end(container.start_failure or died)
    await schedule(state, function)


async def _closed_within(state: State, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await state.closing.wait()
    except TimeoutError:
        return False
    return True


class Container:
    """One process. Create it on the plane's loop."""

    def __init__(self, state: State, function: Function) -> None:
        self.state = state
        self.function = function
        self.id = state.new_id("ta")
        self.folder = state.folder / "containers" / self.id
        self.call: Call | None = None
        self.asked = False
        self.retired = False
        self.killed = False
        self.start_failure: Result | None = None
        self.woken = asyncio.Condition()
        self.cancellations: asyncio.Queue[str] = asyncio.Queue()
        self._server = Server([ContainerRpcs(state, self)])
        self._timer: asyncio.TimerHandle | None = None
        self.process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        """Its /root."""
        return self.folder / "root"

    async def start(self) -> None:
        await self._server.start("127.0.0.1", 0)
        port = self._server._server.sockets[0].getsockname()[1]
        self._lay_out()
        arguments = self.folder / "arguments"
        arguments.write_bytes(self._arguments().SerializeToString())
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(self.home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
            "MODAL_SERVER_URL": f"http://127.0.0.1:{port}",
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": self.id,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            # A heartbeat is answered when there is something to cancel.
            "MODAL_HEARTBEAT_INTERVAL": "3600",
            **self.state.container_env,
        }
        for id_ in self.function.definition.secret_ids:
            environment |= self.state.secrets[id_]
        log = (self.folder / "log").open("wb")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modal._container_entrypoint"],
                env=environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _lay_out(self) -> None:
        self.home.mkdir(parents=True)
        for id_ in self.function.definition.mount_ids:
            for file in self.state.mounts[id_]:
                path = self.folder / file.filename.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.state.files[file.sha256_hex])
        for mount in self.function.definition.volume_mounts:
            copy_tree(self.committed(mount.volume_id), self.mounted(mount.volume_id))

    def committed(self, volume_id: str) -> Path:
        """A volume as all see it."""
        folder = self.state.folder / "volumes" / volume_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def mounted(self, volume_id: str) -> Path:
        """A volume as this container sees it."""
        for mount in self.function.definition.volume_mounts:
            if mount.volume_id == volume_id:
                return self.folder / mount.mount_path.lstrip("/")
        raise GRPCError(Status.NOT_FOUND, f"the volume {volume_id} is not mounted here")

    def _arguments(self) -> api_pb2.ContainerArguments:
        app = self.state.apps[self.function.app_id]
        definition = self.function.definition
        objects = [
            api_pb2.Object(object_id=self.function.id, function_handle_metadata=self.function.metadata())
        ]
        objects += [
            api_pb2.Object(object_id=id_, class_handle_metadata=api_pb2.ClassHandleMetadata())
            for id_ in app.class_ids.values()
        ]
        objects += [
            api_pb2.Object(object_id=id_, function_handle_metadata=self.state.functions[id_].metadata())
            for id_ in app.function_ids.values()
            if id_ != self.function.id
        ]
        for dependency in definition.object_dependencies:
            id_ = dependency.object_id
            volume = api_pb2.VolumeMetadata(name=self.state.volumes.get(id_, ""), version=1)
            objects.append(
                api_pb2.Object(object_id=id_, volume_metadata=volume if id_ in self.state.volumes else None)
            )
        return api_pb2.ContainerArguments(
            task_id=self.id,
            function_id=self.function.id,
            app_id=app.id,
            function_def=definition,
            environment_name="main",
            app_layout=api_pb2.AppLayout(
                objects=objects, function_ids=app.function_ids, class_ids=app.class_ids
            ),
        )

    def begin(self, call: Call) -> None:
        """It has got this call; Modal ends a container whose call runs for too long."""
        self.call, call.container = call, self
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.function.definition.timeout_secs, self._time_out, call)

    def end(self) -> None:
        self.call = None
        if self._timer is not None:
            self._timer.cancel()

    def _time_out(self, call: Call) -> None:
        seconds = self.function.definition.timeout_secs
        result = Result(
            status=Result.GENERIC_STATUS_TIMEOUT,
            exception=f"Task's current input hit its timeout of {seconds}s",
        )
        task = asyncio.create_task(call.end(result))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        self.kill()

    def cancel(self, call: Call) -> None:
        self.cancellations.put_nowait(call.input_id)

    def kill(self) -> None:
        """SIGKILL, for the process and what it started."""
        self.killed = self.retired = True
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    async def close(self) -> None:
        self.end_timer()
        self._server.close()
        await self._server.wait_closed()

    def end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class ContainerRpcs(SharedRpcs):
    """What a container asks. It carries no token: the server is its own."""

    def __init__(self, state: State, container: Container) -> None:
        super().__init__(state)
        self._container = container

    def authorize(self, metadata: Any) -> None:
        """Only a client that says that it is a container."""
        if metadata.get("x-modal-client-type") != str(api_pb2.CLIENT_TYPE_CONTAINER):
            raise GRPCError(Status.UNAUTHENTICATED, "not a container")

    async def container_hello(self, request: Empty) -> Empty:
        return Empty()

    async def container_heartbeat(
        self, request: api_pb2.ContainerHeartbeatRequest
    ) -> api_pb2.ContainerHeartbeatResponse:
        id_ = await self._container.cancellations.get()
        return api_pb2.ContainerHeartbeatResponse(
            cancel_input_event=api_pb2.CancelInputEvent(input_ids=[id_])
        )

    async def function_get_inputs(
        self, request: api_pb2.FunctionGetInputsRequest
    ) -> api_pb2.FunctionGetInputsResponse:
        container = self._container
        container.asked = True
        try:
            async with asyncio.timeout(_POLL_S), container.woken:
                await container.woken.wait_for(lambda: container.retired or container.function.backlog)
        except TimeoutError:
            return api_pb2.FunctionGetInputsResponse()
        call = None if container.retired else container.function.take()
        if call is None:
            item = api_pb2.FunctionGetInputsItem(kill_switch=True)
            return api_pb2.FunctionGetInputsResponse(inputs=[item] if container.retired else [])
        container.begin(call)
        item = api_pb2.FunctionGetInputsItem(
            input_id=call.input_id,
            function_call_id=call.id,
            input=call.item,
            function_call_invocation_type=call.kind,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    async def function_put_outputs(self, request: api_pb2.FunctionPutOutputsRequest) -> Empty:
        call = self._container.call
        for item in request.outputs:
            if call is None or item.input_id != call.input_id:
                raise GRPCError(Status.INVALID_ARGUMENT, "that input is not this container's")
            await call.end(item.result, item.data_format)
        self._container.end()
        return Empty()

    async def function_call_put_data_out(self, request: api_pb2.FunctionCallPutDataRequest) -> Empty:
        call: Call = self.state.find(self.state.calls, request.function_call_id)
        call.chunks.extend(request.data_chunks)
        async with call.changed:
            call.changed.notify_all()
        return Empty()

    async def task_result(self, request: api_pb2.TaskResultRequest) -> Empty:
        self._container.start_failure = request.result
        return Empty()

    async def volume_commit(self, request: api_pb2.VolumeCommitRequest) -> api_pb2.VolumeCommitResponse:
        container = self._container
        copy_tree(container.mounted(request.volume_id), container.committed(request.volume_id))
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def volume_reload(self, request: api_pb2.VolumeReloadRequest) -> Empty:
        container = self._container
        mounted = container.mounted(request.volume_id)
        if open_files(container.process.pid, mounted):
            raise GRPCError(Status.FAILED_PRECONDITION, "there are open files preventing the operation")
        copy_tree(container.committed(request.volume_id), mounted)
        return Empty()


def copy_tree(source: Path, target: Path) -> None:
    """Files of one folder into another, links as links; what only the target has stays."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            copy.mkdir(exist_ok=True)
        else:
            # Aside and renamed: a process that has the old file mapped keeps it.
            aside = copy.with_name(f".{copy.name}.new")
            shutil.copy2(path, aside, follow_symlinks=False)
            aside.rename(copy)


def open_files(pid: int, folder: Path) -> list[str]:
    """Which files below `folder` a process holds open or mapped."""
    mapped = [line.split(maxsplit=5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    held = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return sorted({name for name in mapped + held if Path(name).is_relative_to(folder)})
