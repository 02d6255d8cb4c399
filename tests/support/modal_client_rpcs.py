"""The RPCs of a client that looks up a deployed class and calls it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2
from support.modal_containers import add_work
from support.modal_shared_rpcs import SharedRpcs
from support.modal_state import Call, Function, Result

_ASYNC = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC
_INLINE = 2 * 1024 * 1024
_INLINE_ASYNC = 8 * 1024
_LONGEST_WAIT_S = 60.0


class ClientRpcs(SharedRpcs):
    """Look up, call, poll, cancel. Every request carries the token."""

    def authorize(self, metadata: Any) -> None:
        """The token, and what a client says of itself."""
        if (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret")) != self.state.token:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or unknown")
        if "x-modal-client-version" not in metadata:
            raise GRPCError(Status.FAILED_PRECONDITION, "no client version")

    async def client_hello(self, request: Empty) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse()

    async def class_get(self, request: api_pb2.ClassGetRequest) -> api_pb2.ClassGetResponse:
        app = self.state.app_named(request.app_name)
        if request.object_tag not in app.class_ids:
            raise GRPCError(Status.NOT_FOUND, f"No Cls '{request.object_tag}' in the App '{app.name}'")
        return api_pb2.ClassGetResponse(class_id=app.class_ids[request.object_tag])

    async def function_get(self, request: api_pb2.FunctionGetRequest) -> api_pb2.FunctionGetResponse:
        app = self.state.app_named(request.app_name)
        if request.object_tag not in app.function_ids:
            raise GRPCError(Status.NOT_FOUND, f"No Function '{request.object_tag}' in the App '{app.name}'")
        function = self.state.functions[app.function_ids[request.object_tag]]
        return api_pb2.FunctionGetResponse(
            function_id=function.id, handle_metadata=function.metadata(), function=function.data()
        )

    async def function_map(self, request: api_pb2.FunctionMapRequest) -> api_pb2.FunctionMapResponse:
        function: Function = self.state.find(self.state.functions, request.function_id)
        kind = request.function_call_invocation_type
        if (
            len(request.pipelined_inputs) != 1
            or request.function_call_type != api_pb2.FUNCTION_CALL_TYPE_UNARY
        ):
            raise GRPCError(Status.INVALID_ARGUMENT, "one input a call")
        item = request.pipelined_inputs[0].input
        self._check_input(function, item, kind)
        call = Call(id=self.state.new_id("fc"), function=function, item=item, kind=kind)
        self.state.calls[call.id] = call
        await add_work(self.state, call)
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt="jwt",
            pipelined_inputs=[
                api_pb2.FunctionPutInputsResponseItem(idx=0, input_id=call.input_id, input_jwt="jwt")
            ],
        )

    def _check_input(self, function: Function, item: api_pb2.FunctionInput, kind: int) -> None:
        methods = function.definition.method_definitions
        if methods and item.method_name not in methods:
            raise GRPCError(Status.INVALID_ARGUMENT, f"no method {item.method_name!r}")
        generator = (methods[item.method_name] if methods else function.definition).function_type
        if kind == _ASYNC and generator == api_pb2.Function.FUNCTION_TYPE_GENERATOR:
            raise GRPCError(Status.INVALID_ARGUMENT, "a generator cannot be spawned")
        if item.WhichOneof("args_oneof") == "args_blob_id":
            if self.state.find(self.state.blobs, item.args_blob_id) is None:
                raise GRPCError(Status.INVALID_ARGUMENT, "the arguments were never uploaded")
        elif len(item.args) > (_INLINE_ASYNC if kind == _ASYNC else _INLINE):
            raise GRPCError(
                Status.INVALID_ARGUMENT, f"{len(item.args)} bytes of arguments are too many inline"
            )

    def _call(self, id_: str) -> Call:
        call: Call = self.state.find(self.state.calls, id_)
        return call

    async def function_get_outputs(
        self, request: api_pb2.FunctionGetOutputsRequest
    ) -> api_pb2.FunctionGetOutputsResponse:
        call = self._call(request.function_call_id)
        if not 0 <= request.timeout <= _LONGEST_WAIT_S:
            raise GRPCError(Status.INVALID_ARGUMENT, f"a wait of {request.timeout} s")
        if not call.expired:
            await call.wait(request.timeout)
        if call.expired:
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=0)
        if call.output is None:
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        if request.clear_on_success:
            call.expired = True
        return api_pb2.FunctionGetOutputsResponse(outputs=[call.output])

    async def function_call_get_data_out(
        self, request: api_pb2.FunctionCallGetDataRequest
    ) -> AsyncIterator[api_pb2.DataChunk]:
        call = self._call(request.function_call_id)
        sent = request.last_index
        while True:
            async with call.changed:
                while len(call.chunks) <= sent and call.output is None:
                    await call.changed.wait()
            chunks = call.chunks[sent:]
            for chunk in chunks:
                yield chunk
            sent += len(chunks)
            if call.output is not None and sent == len(call.chunks):
                # The client opens the stream again at once until it has all items.
                await asyncio.sleep(0.2)
                return

    async def function_call_cancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        call = self._call(request.function_call_id)
        if call.output is None and call.container is None:
            await call.end(
                Result(status=Result.GENERIC_STATUS_TERMINATED, exception="Input was cancelled by user")
            )
        elif call.output is None and request.terminate_containers:
            call.container.kill()
            await call.end(
                Result(status=Result.GENERIC_STATUS_TERMINATED, exception="Input was cancelled by user")
            )
        elif call.output is None:
            call.container.cancel(call)
        return Empty()

    async def function_call_from_id(
        self, request: api_pb2.FunctionCallFromIdRequest
    ) -> api_pb2.FunctionCallFromIdResponse:
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=self._call(request.function_call_id).id, num_inputs=1
        )

    async def function_get_current_stats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest
    ) -> api_pb2.FunctionStats:
        function: Function = self.state.find(self.state.functions, request.function_id)
        return api_pb2.FunctionStats(
            backlog=function.backlog,
            num_total_tasks=len(function.containers) + function.starting,
            num_running_inputs=sum(container.call is not None for container in function.containers),
        )
