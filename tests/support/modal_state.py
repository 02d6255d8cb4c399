"""What our Modal control plane knows: apps, functions, calls, blobs, dictionaries and volumes."""

import asyncio
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

if TYPE_CHECKING:
    from support.modal_containers import Container

Result = api_pb2.GenericResult


@dataclass
class Fault:
    """What the next request of an RPC meets instead of its answer."""

    status: Status
    after: bool = False
    """True: the RPC does its work, and only the answer is lost."""


@dataclass
class Call:
    """One function call: one input."""

    id: str
    function: "Function"
    item: api_pb2.FunctionInput
    kind: int
    chunks: list[api_pb2.DataChunk] = field(default_factory=list)
    output: api_pb2.FunctionGetOutputsItem | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    container: "Container | None" = None
    expired: bool = False

    @property
    def input_id(self) -> str:
        return f"in-{self.id[3:]}"

    @property
    def method(self) -> str:
        return self.item.method_name

    async def end(self, result: Result, data_format: int = api_pb2.DATA_FORMAT_PICKLE) -> None:
        """Keep the first result, and wake whoever waits for it."""
        if self.output is None:
            self.output = api_pb2.FunctionGetOutputsItem(
                input_id=self.input_id, idx=0, result=result, data_format=data_format
            )
        async with self.changed:
            self.changed.notify_all()

    async def wait(self, seconds: float) -> None:
        """Until there is an output or the time is up."""
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: self.output is not None)
        except TimeoutError:
            return


@dataclass
class Function:
    """A function, or the one that serves all methods of a class."""

    id: str
    app_id: str
    definition: api_pb2.Function
    queue: deque[Call] = field(default_factory=deque)
    containers: "list[Container]" = field(default_factory=list)
    starting: int = 0

    @property
    def name(self) -> str:
        return self.definition.function_name.removesuffix(".*")

    @property
    def most_containers(self) -> int:
        return self.definition.autoscaler_settings.max_containers or 1

    def metadata(self) -> api_pb2.FunctionHandleMetadata:
        """What a client gets to know of it."""
        definition = self.definition
        return api_pb2.FunctionHandleMetadata(
            function_name=definition.function_name,
            function_type=definition.function_type,
            definition_id=f"de-{self.id[3:]}",
            app_id=self.app_id,
            class_parameter_info=definition.class_parameter_info,
            supported_input_formats=definition.supported_input_formats,
            supported_output_formats=definition.supported_output_formats,
            method_handle_metadata={
                name: api_pb2.FunctionHandleMetadata(
                    function_name=method.function_name,
                    function_type=method.function_type,
                    is_method=True,
                    use_method_name=name,
                    supported_input_formats=method.supported_input_formats,
                    supported_output_formats=method.supported_output_formats,
                )
                for name, method in definition.method_definitions.items()
            },
        )

    def data(self) -> api_pb2.FunctionData:
        """The form that FunctionGet and FunctionCreate answer with."""
        ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=self.definition)
        return api_pb2.FunctionData(
            function_name=self.definition.function_name,
            ranked_functions=[ranked],
            is_class=self.definition.is_class,
        )

    def take(self) -> Call | None:
        """The next call that still wants to be run."""
        while self.queue:
            call = self.queue.popleft()
            if call.output is None:
                return call
        return None

    @property
    def backlog(self) -> int:
        return sum(call.output is None for call in self.queue)


@dataclass
class App:
    """A deployed app. Names count once it is published."""

    id: str
    name: str
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    published: int = 0


@dataclass
class State:
    """All of it, touched on the plane's own event loop alone; counters may be read from any thread."""

    folder: Path
    token: tuple[str, str]
    container_env: dict[str, str]
    count: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    delays: dict[str, float] = field(default_factory=dict)
    seen: dict[tuple[str, str], tuple[bytes, asyncio.Future[Any]]] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    blobs: dict[str, bytes | None] = field(default_factory=dict)
    blob_md5: dict[str, str] = field(default_factory=dict)
    blob_url: str = ""
    dicts: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    mounts: dict[str, list[api_pb2.MountFile]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    images: dict[str, api_pb2.Image] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    start_delay_s: float = 0.0
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers):022d}"

    def app_named(self, name: str) -> App:
        for app in self.apps.values():
            if app.name == name and app.published:
                return app
        raise GRPCError(Status.NOT_FOUND, f"App '{name}' not found")

    def find(self, kind: dict[str, Any], id_: str) -> Any:
        """The thing with this id; unknown ids are NOT_FOUND, as for every caller."""
        if id_ not in kind:
            raise GRPCError(Status.NOT_FOUND, f"No object with id '{id_}'")
        return kind[id_]
