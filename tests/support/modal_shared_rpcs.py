"""The RPCs that clients and containers both use: blobs and dictionaries."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator

import aiohttp.web
from grpclib import GRPCError, Status
from modal_proto import api_pb2
from support.modal_rpc import Service
from support.modal_state import State


class SharedRpcs(Service):
    """Blobs and dictionaries."""

    async def blob_create(self, request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        id_ = self.state.new_id("bl")
        self.state.blobs[id_] = None
        self.state.blob_md5[id_] = request.content_md5
        url = f"{self.state.blob_url}/{id_}"
        return api_pb2.BlobCreateResponse(blob_ids=[id_], upload_urls=api_pb2.UploadUrlList(items=[url]))

    async def blob_get(self, request: api_pb2.BlobGetRequest) -> api_pb2.BlobGetResponse:
        if self.state.find(self.state.blobs, request.blob_id) is None:
            raise GRPCError(Status.NOT_FOUND, "the blob was never uploaded")
        return api_pb2.BlobGetResponse(download_url=f"{self.state.blob_url}/{request.blob_id}")

    async def dict_get_or_create(
        self, request: api_pb2.DictGetOrCreateRequest
    ) -> api_pb2.DictGetOrCreateResponse:
        id_ = f"di-{request.deployment_name}"
        if id_ not in self.state.dicts:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"Dict '{request.deployment_name}' not found")
            self.state.dicts[id_] = {}
        return api_pb2.DictGetOrCreateResponse(
            dict_id=id_, metadata=api_pb2.DictMetadata(name=request.deployment_name)
        )

    async def dict_update(self, request: api_pb2.DictUpdateRequest) -> api_pb2.DictUpdateResponse:
        entries = self.state.find(self.state.dicts, request.dict_id)
        for entry in request.updates:
            entries[entry.key] = entry.value
        return api_pb2.DictUpdateResponse(created=True)

    async def dict_get(self, request: api_pb2.DictGetRequest) -> api_pb2.DictGetResponse:
        value = self.state.find(self.state.dicts, request.dict_id).get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def dict_pop(self, request: api_pb2.DictPopRequest) -> api_pb2.DictPopResponse:
        value = self.state.find(self.state.dicts, request.dict_id).pop(request.key, None)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def dict_len(self, request: api_pb2.DictLenRequest) -> api_pb2.DictLenResponse:
        return api_pb2.DictLenResponse(len=len(self.state.find(self.state.dicts, request.dict_id)))

    async def dict_contents(self, request: api_pb2.DictContentsRequest) -> AsyncIterator[api_pb2.DictEntry]:
        for key, value in list(self.state.find(self.state.dicts, request.dict_id).items()):
            yield api_pb2.DictEntry(key=key, value=value)


class BlobServer:
    """Where blobs are put and fetched by HTTP, as at an object store."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._runner: aiohttp.web.AppRunner | None = None

    @property
    def running(self) -> bool:
        return self._runner is not None

    async def start(self) -> None:
        app = aiohttp.web.Application(client_max_size=1 << 30)
        app.add_routes([aiohttp.web.put("/{id}", self._put), aiohttp.web.get("/{id}", self._get)])
        self._runner = aiohttp.web.AppRunner(app)
        await self._runner.setup()
        await aiohttp.web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._state.blob_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _put(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        id_ = request.match_info["id"]
        self._state.count["PUT blob"] += 1
        await asyncio.sleep(self._state.delays.get("PUT blob", 0))
        body = await request.read()
        if self._state.faults["PUT blob"]:
            self._state.faults["PUT blob"].popleft()
            return aiohttp.web.Response(status=500)
        md5 = hashlib.md5(body)
        if id_ not in self._state.blobs:
            return aiohttp.web.Response(status=404)
        if base64.b64encode(md5.digest()).decode() != self._state.blob_md5[id_]:
            return aiohttp.web.Response(status=400, text="not what was announced")
        self._state.blobs[id_] = body
        return aiohttp.web.Response(headers={"ETag": f'"{md5.hexdigest()}"'})

    async def _get(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        self._state.count["GET blob"] += 1
        if self._state.faults["GET blob"]:
            self._state.faults["GET blob"].popleft()
            return aiohttp.web.Response(status=500)
        body = self._state.blobs.get(request.match_info["id"])
        return aiohttp.web.Response(status=404) if body is None else aiohttp.web.Response(body=body)
