"""How an RPC of Modal's API gets to the function that answers it.

An RPC `FunctionMap` is answered by a method `function_map(request)`; a method that is an async
generator streams. An RPC without a method answers UNIMPLEMENTED and is a violation: what our code
asks of Modal is written down here, and nothing else passes in silence.
"""

import asyncio
import functools
import inspect
import re
import traceback
from typing import Any

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from modal_proto import api_grpc
from support.modal_state import Fault, State

# A repeated request with the same key is the same request, and has the same answer.
_ONCE = {"FunctionMap", "BlobCreate", "AppCreate", "FunctionCreate", "ClassCreate", "AppPublish"}


@functools.cache
def _handlers() -> dict[str, Handler]:
    """Of each of the RPCs: its types. The class is abstract in all of its methods."""
    blank = type("Blank", (api_grpc.ModalClientBase,), {})
    blank.__abstractmethods__ = frozenset()
    return api_grpc.ModalClientBase.__mapping__(blank())


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Service:
    """A grpclib service over the methods of its class."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: handler._replace(
                func=functools.partial(self._serve, path.rsplit("/", 1)[1], handler.cardinality)
            )
            for path, handler in _handlers().items()
        }

    def authorize(self, metadata: Any) -> None:
        """Raises GRPCError: not a caller of ours."""

    async def _serve(self, name: str, cardinality: Cardinality, stream: Any) -> None:
        request = await stream.recv_message()
        self.state.count[name] += 1
        self.authorize(stream.metadata)
        method = getattr(self, _snake(name), None)
        if method is None or cardinality in (Cardinality.STREAM_UNARY, Cardinality.STREAM_STREAM):
            self.state.violations.append(f"{type(self).__name__} does not know {name}")
            raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not implemented")
        await asyncio.sleep(self.state.delays.get(name, 0))
        fault = self.state.faults[name].popleft() if self.state.faults[name] else None
        if fault is not None and not fault.after:
            raise _injected(name, fault)
        try:
            await self._answer(name, method, request, stream, fault)
        except (GRPCError, asyncio.CancelledError):
            raise
        except Exception:
            self.state.violations.append(f"{name} failed:\n{traceback.format_exc()}")
            raise

    async def _answer(self, name: str, method: Any, request: Any, stream: Any, fault: Fault | None) -> None:
        if inspect.isasyncgenfunction(method):
            async for reply in method(request):
                await stream.send_message(reply)
            return
        key = stream.metadata.get("x-idempotency-key", "")
        reply = await (self._once(name, key, method, request) if name in _ONCE else method(request))
        if fault is not None:
            raise _injected(name, fault)
        await stream.send_message(reply)

    async def _once(self, name: str, key: str, method: Any, request: Any) -> Any:
        if not key:
            raise GRPCError(Status.INVALID_ARGUMENT, f"{name} needs x-idempotency-key")
        body = request.SerializeToString(deterministic=True)
        seen = self.state.seen.get((name, key))
        if seen is None:
            future = asyncio.ensure_future(method(request))
            self.state.seen[name, key] = body, future
        elif seen[0] == body:
            future = seen[1]
        else:
            self.state.violations.append(f"{name}: another request under the key {key}")
            raise GRPCError(Status.INVALID_ARGUMENT, "another request under this key")
        return await asyncio.shield(future)


def _injected(name: str, fault: Fault) -> GRPCError:
    return GRPCError(fault.status, f"injected failure in {name}")
