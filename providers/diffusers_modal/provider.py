"""The provider `diffusers_modal`: our own diffusers backends.

Today it runs jobs on an engine process (`gateway engine`), on this machine or on the one that
`GATEWAY_ENGINE` names. A route of the tier `local` always does; one of a GPU tier does when
`DIFFUSERS_TARGET=local`, and is for Modal otherwise.
"""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from providers.base import (
    Call,
    Failed,
    Handle,
    ImageBytes,
    MediaRef,
    Poll,
    ProviderContext,
    Running,
    Succeeded,
    Unavailable,
    Waiting,
)
from providers.diffusers_modal import wire
from providers.diffusers_modal.local import EngineClient, address_in, fixed_address
from providers.errors import (
    JobCanceled,
    JobLost,
    MalformedOutput,
    ProviderError,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRejected,
)
from registry.schema import Route

__all__ = ["DiffusersModalProvider"]

_ERRORS: dict[wire.ErrorCode, type[ProviderError]] = {
    "bad_parameter": RequestRejected,
    "unknown_scheduler": RequestRejected,
    "out_of_memory": ProviderFailed,
    "bad_weights": ProviderFailed,
    "engine_failed": ProviderFailed,
    "canceled": JobCanceled,
    "timeout": ProviderTimeout,
    "unknown_job": JobLost,
}

_LOST = (
    "The engine process ended while the job ran, and what it had made is gone. Nothing was "
    "charged; send the request again."
)


class DiffusersModalProvider:
    """Runs diffusers pipelines on an engine. Build it with `create`."""

    type: ClassVar[str] = "diffusers_modal"
    idempotent_submit: ClassVar[bool] = True

    def __init__(self, name: str, client: EngineClient) -> None:
        self._name = name
        self._client = client

    @classmethod
    def unavailable(cls, context: ProviderContext, route: Route) -> Unavailable | None:
        """See `providers.base.Provider.unavailable`."""
        if route.pipeline is None:
            return Unavailable(reason=f"The route to {route.endpoint} has no pipeline in the registry.")
        target = context.env.get("DIFFUSERS_TARGET", "")
        if target not in ("", "local", "modal"):
            return Unavailable(
                reason=f"DIFFUSERS_TARGET is {target!r}; it is local or modal.", setting="DIFFUSERS_TARGET"
            )
        if route.pipeline.tier == "local" or target == "local":
            return _engine_unavailable(context.env)
        return _modal_unavailable(context.env, route.pipeline.tier)

    @classmethod
    def create(cls, context: ProviderContext) -> "DiffusersModalProvider":
        """See `providers.base.Provider.create`.

        Raises:
            ValueError: `GATEWAY_ENGINE` is not `host:port`.
        """
        remote = context.env.get("GATEWAY_ENGINE", "")
        if remote:
            host, port = _host_port(remote)
            address = fixed_address(host, port, context.env.get("GATEWAY_ENGINE_TOKEN", ""))
        else:
            address = address_in(Path(context.data_dir))
        return cls(context.name, EngineClient(address, provider=context.name))

    async def submit(self, call: Call) -> Handle | Succeeded:
        """See `providers.base.Provider.submit`."""
        pipeline = call.route.pipeline
        if pipeline is None:
            raise RequestRejected("The route has no pipeline in the registry.", provider=self._name)
        _no_media(call, self._name)
        job = wire.EngineJob(
            id=call.id,
            pipeline=wire.PipelineSpec(
                source=pipeline.source,
                pipeline_class=pipeline.pipeline_class,
                dtype=pipeline.dtype,
                device_map=pipeline.device_map,
                variant=pipeline.variant,
            ),
            # The engine makes each picture by itself; the number is the job's, not the call's.
            parameters={name: value for name, value in call.payload.items() if name != "num_images"},
            num_images=call.num_images,
            timeout_s=call.timeout_s,
        )
        await self._client.submit(job)
        return Handle(provider=self._name, remote_id=call.id)

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        """The handle of an engine's job: its id is the attempt's."""
        return Handle(provider=self._name, remote_id=remote_id)

    async def poll(self, handle: Handle) -> Poll:
        """See `providers.base.Provider.poll`."""
        reply = await self._client.poll(handle.remote_id)
        match reply:
            case wire.Queued(position=position):
                return Waiting(position=position)
            case wire.Running(phase=phase, step=step, steps=steps):
                return Running(phase=phase, step=step if steps else None, steps=steps or None)
            case wire.Done():
                return self._succeeded(reply)
            case wire.ErrorRecord():
                return Failed(error=self._error(reply))
        return Failed(
            error=MalformedOutput(
                "The engine's answer is not one to this question.",
                provider=self._name,
                raw=repr(reply)[:500],
            )
        )

    async def cancel(self, handle: Handle) -> None:
        """See `providers.base.Provider.cancel`.

        Raises:
            ProviderUnavailable: the engine could not be asked.
        """
        await self._client.cancel(handle.remote_id)

    async def aclose(self) -> None:
        """Nothing is open between requests."""

    def _succeeded(self, done: wire.Done) -> Succeeded:
        images = tuple(
            ImageBytes(data=image.data, content_type=image.content_type, seed=image.seed)
            for image in done.images
        )
        return Succeeded(images=images, run_seconds=done.run_seconds, load_seconds=done.load_seconds)

    def _error(self, record: wire.ErrorRecord) -> ProviderError:
        message = _LOST if record.code == "unknown_job" else record.message
        error = _ERRORS.get(record.code, ProviderUnavailable)
        return error(message, provider=self._name, raw=f"{record.code}: {record.message}")


@functools.cache
def _torch_is_installed() -> bool:
    """A look at the folders of the environment, once a process; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "diffusers"))


def _engine_unavailable(env: Mapping[str, str]) -> Unavailable | None:
    remote = env.get("GATEWAY_ENGINE", "")
    if not remote:
        if _torch_is_installed():
            return None
        return Unavailable(
            reason="torch and diffusers are not installed here: install image-gateway[diffusers], or "
            "set GATEWAY_ENGINE to the host:port of an engine on another machine.",
            setting="GATEWAY_ENGINE",
        )
    try:
        _host_port(remote)
    except ValueError as error:
        return Unavailable(reason=str(error), setting="GATEWAY_ENGINE")
    if not env.get("GATEWAY_ENGINE_TOKEN"):
        return Unavailable(
            reason="GATEWAY_ENGINE needs GATEWAY_ENGINE_TOKEN, the token that engine was started with.",
            setting="GATEWAY_ENGINE_TOKEN",
        )
    return None


def _modal_unavailable(env: Mapping[str, str], tier: str) -> Unavailable:
    here = "DIFFUSERS_TARGET=local runs it on this machine's engine instead"
    if env.get("MODAL_TOKEN_ID"):
        return Unavailable(
            reason=f"This version does not yet call the GPU tier {tier} on Modal; {here}.",
            setting="DIFFUSERS_TARGET",
        )
    return Unavailable(
        reason=f"The GPU tier {tier} runs on Modal, which needs MODAL_TOKEN_ID; {here}.",
        setting="MODAL_TOKEN_ID",
    )


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"GATEWAY_ENGINE is {text!r}; it is host:port, as in gpu-box:7860.")
    return host.strip("[]"), int(port)


def _no_media(call: Call, provider: str) -> None:
    for name, value in call.payload.items():
        values = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, MediaRef) for item in values):
            raise RequestRejected(
                f"The diffusers engine does not take pictures or weights yet: leave out {name}.",
                provider=provider,
            )
