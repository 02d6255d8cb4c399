"""The RPCs of `modal deploy`."""

import time

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2
from support.modal_client_rpcs import ClientRpcs
from support.modal_containers import retire
from support.modal_state import App, Function, Result

_BUILDER = "2025.06"
_CREATE = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
)


class DeployRpcs(ClientRpcs):
    """Apps, mounts, images, secrets, volumes, functions and classes. Names count once published."""

    async def environment_get_or_create(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        settings = api_pb2.EnvironmentSettings(image_builder_version=_BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def app_get_by_deployment_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        found = [app.id for app in self.state.apps.values() if app.name == request.name and app.published]
        return api_pb2.AppGetByDeploymentNameResponse(app_id=found[0] if found else "")

    async def app_create(self, request: api_pb2.AppCreateRequest) -> api_pb2.AppCreateResponse:
        app = App(id=self.state.new_id("ap"), name=request.description)
        self.state.apps[app.id] = app
        return api_pb2.AppCreateResponse(app_id=app.id)

    async def app_get_layout(self, request: api_pb2.AppGetLayoutRequest) -> api_pb2.AppGetLayoutResponse:
        app = self.state.find(self.state.apps, request.app_id)
        layout = api_pb2.AppLayout(function_ids=app.function_ids, class_ids=app.class_ids)
        return api_pb2.AppGetLayoutResponse(app_layout=layout)

    async def app_heartbeat(self, request: api_pb2.AppHeartbeatRequest) -> Empty:
        return Empty()

    async def app_client_disconnect(self, request: api_pb2.AppClientDisconnectRequest) -> Empty:
        return Empty()

    async def mount_batched_check_existence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [name for name in request.sha256_hex_hashes if name not in self.state.files]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def mount_put_file(self, request: api_pb2.MountPutFileRequest) -> api_pb2.MountPutFileResponse:
        data = self.state.blobs[request.data_blob_id] if request.data_blob_id else request.data
        self.state.files[request.sha256_hex] = data
        return api_pb2.MountPutFileResponse(exists=True)

    async def mount_get_or_create(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        for file in request.files:
            self.state.find(self.state.files, file.sha256_hex)
        id_ = self.state.new_id("mo")
        self.state.mounts[id_] = list(request.files)
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex="0" * 64)
        return api_pb2.MountGetOrCreateResponse(mount_id=id_, handle_metadata=metadata)

    async def secret_get_or_create(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        id_ = self.state.new_id("st")
        self.state.secrets[id_] = dict(request.env_dict)
        return api_pb2.SecretGetOrCreateResponse(secret_id=id_)

    async def volume_get_or_create(
        self, request: api_pb2.VolumeGetOrCreateRequest
    ) -> api_pb2.VolumeGetOrCreateResponse:
        id_ = f"vo-{request.deployment_name}"
        if id_ not in self.state.volumes and request.object_creation_type not in _CREATE:
            raise GRPCError(Status.NOT_FOUND, f"Volume '{request.deployment_name}' not found")
        self.state.volumes[id_] = request.deployment_name
        metadata = api_pb2.VolumeMetadata(name=request.deployment_name, version=1)
        return api_pb2.VolumeGetOrCreateResponse(volume_id=id_, version=1, metadata=metadata)

    async def image_get_or_create(
        self, request: api_pb2.ImageGetOrCreateRequest
    ) -> api_pb2.ImageGetOrCreateResponse:
        id_ = self.state.new_id("im")
        self.state.images[id_] = request.image
        return api_pb2.ImageGetOrCreateResponse(
            image_id=id_,
            result=Result(status=Result.GENERIC_STATUS_SUCCESS),
            metadata=api_pb2.ImageMetadata(image_builder_version=_BUILDER),
        )

    async def function_precreate(
        self, request: api_pb2.FunctionPrecreateRequest
    ) -> api_pb2.FunctionPrecreateResponse:
        self.state.find(self.state.apps, request.app_id)
        id_ = request.existing_function_id or self.state.new_id("fu")
        definition = api_pb2.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            method_definitions=request.method_definitions,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        metadata = Function(id=id_, app_id=request.app_id, definition=definition).metadata()
        return api_pb2.FunctionPrecreateResponse(function_id=id_, handle_metadata=metadata)

    async def function_create(self, request: api_pb2.FunctionCreateRequest) -> api_pb2.FunctionCreateResponse:
        self.state.find(self.state.apps, request.app_id)
        if request.HasField("function_data"):
            raise GRPCError(Status.INVALID_ARGUMENT, "a list of GPUs is not known here")
        definition = request.function
        for id_ in definition.secret_ids:
            self.state.find(self.state.secrets, id_)
        for id_ in definition.mount_ids:
            self.state.find(self.state.mounts, id_)
        self.state.find(self.state.images, definition.image_id)
        id_ = request.existing_function_id or self.state.new_id("fu")
        known = self.state.functions.get(id_)
        if known is None:
            self.state.functions[id_] = Function(id=id_, app_id=request.app_id, definition=definition)
        else:
            known.definition = definition
        function = self.state.functions[id_]
        return api_pb2.FunctionCreateResponse(
            function_id=id_,
            handle_metadata=function.metadata(),
            function=definition,
            function_data=function.data(),
        )

    async def class_create(self, request: api_pb2.ClassCreateRequest) -> api_pb2.ClassCreateResponse:
        id_ = request.existing_class_id or self.state.new_id("cs")
        return api_pb2.ClassCreateResponse(class_id=id_, handle_metadata=api_pb2.ClassHandleMetadata())

    async def app_publish(self, request: api_pb2.AppPublishRequest) -> api_pb2.AppPublishResponse:
        app = self.state.find(self.state.apps, request.app_id)
        app.name = request.name
        app.function_ids = dict(request.function_ids)
        app.class_ids = dict(request.class_ids)
        app.published += 1
        # Containers of the version before take no more work.
        for id_ in app.function_ids.values():
            retire(self.state.functions[id_])
        return api_pb2.AppPublishResponse(url=f"http://127.0.0.1/{app.id}", deployed_at=time.time())
