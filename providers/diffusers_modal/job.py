"""From a gateway's call to an engine's job: the pipeline, its arguments, its pictures and weights."""

import hashlib
from typing import Any

from providers.base import Call, MediaRef
from providers.diffusers_modal.wire import EngineJob, Lora, PipelineSpec
from providers.errors import RequestRejected
from registry.schema import Pipeline
from registry.sizes import parse_size

__all__ = ["LORAS", "MAX_LORA_BYTES", "engine_job", "pipeline_spec"]

MAX_LORA_BYTES = 256 << 20
"""Of one LoRA: it goes to the engine with the job. SDXL's have 20 to 200 MiB."""

LORAS = "loras"


def pipeline_spec(pipeline: Pipeline) -> PipelineSpec:
    """What the engine loads for a route."""
    return PipelineSpec(
        source=pipeline.source,
        pipeline_class=pipeline.pipeline_class,
        dtype=pipeline.dtype,
        device_map=pipeline.device_map,
        variant=pipeline.variant,
        sizes=tuple(size for text in pipeline.sizes if (size := parse_size(text))),
    )


async def engine_job(call: Call, provider: str) -> EngineJob:
    """The job of a call, its media read from our store.

    Args:
        call: on a route with a pipeline; pictures by the names of the pipeline's arguments, LoRAs
            as `loras: [{path, scale}]`.
        provider: the registry's name of the provider, for errors.

    Raises:
        RequestRejected: the route has no pipeline, or the request holds what no engine takes.
        OutputFetchFailed: an input cannot be read from the store.
    """
    if call.route.pipeline is None:
        raise RequestRejected("The route has no pipeline in the registry.", provider=provider)
    images: dict[str, bytes] = {}
    # The engine makes each picture by itself; the number is the job's, not the call's.
    parameters: dict[str, Any] = {}
    for name, value in call.payload.items():
        if isinstance(value, MediaRef):
            images[name] = await call.media.read(value)
        elif name not in ("num_images", LORAS):
            parameters[name] = value
    _no_media(parameters, provider)
    return EngineJob(
        id=call.id,
        pipeline=pipeline_spec(call.route.pipeline),
        parameters=parameters,
        images=images,
        loras=await _loras(call, provider),
        num_images=call.num_images,
        timeout_s=call.timeout_s,
    )


async def _loras(call: Call, provider: str) -> tuple[Lora, ...]:
    found = []
    for row in call.payload.get(LORAS, ()):
        ref = row["path"]
        if ref.size is not None and ref.size > MAX_LORA_BYTES:
            raise RequestRejected(
                f"A LoRA has {ref.size >> 20} MiB; the diffusers engine takes {MAX_LORA_BYTES >> 20}.",
                provider=provider,
            )
        data = await call.media.read(ref)
        # What we kept of it: the engine holds what came to that.
        digest = ref.sha256 or hashlib.sha256(data).hexdigest()
        found.append(Lora(sha256=digest, data=data, scale=float(row.get("scale", 1.0))))
    return tuple(found)


def _no_media(parameters: dict[str, Any], provider: str) -> None:
    """Lists of pictures are of no pipeline that we run."""
    for name, value in parameters.items():
        if isinstance(value, list | tuple) and any(isinstance(item, MediaRef) for item in value):
            raise RequestRejected(
                f"The diffusers engine takes one picture, and no list of them: {name}.", provider=provider
            )
