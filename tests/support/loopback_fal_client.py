"""The fal provider as tests use it: on the loopback fal, by routes of the shipped registry."""

from typing import Any

from support.loopback_fal import LoopbackFal

from providers.base import Call, MediaRef, MediaSource, NoMedia, ProviderContext
from providers.fal.provider import FalProvider
from providers.fal.queue import Timeouts
from registry.load import load_registry
from registry.schema import ProviderRow, Route

ROUTES: dict[str, Route] = {
    route.endpoint: route
    for model in load_registry().models.values()
    for route in model.routes
    if route.provider == "fal" and model.status != "retired"
}
DEV = "fal-ai/flux/dev"
SHORT = Timeouts(submit_s=1.5, status_s=1.5, result_s=1.5, upload_s=1.5)
"""For faults that end with our patience."""


def context(**env: str) -> ProviderContext:
    row = ProviderRow(type="fal", key="FAL_KEY")
    return ProviderContext(name="fal", row=row, env=env, data_dir="/nowhere")


def provider_of(fal: LoopbackFal, timeouts: Timeouts | None = None, **env: str) -> FalProvider:
    return FalProvider.create(context(**(fal.env() | env)), timeouts)


def call(
    prompt: str = "a cat",
    *,
    endpoint: str = DEV,
    timeout_s: float = 60.0,
    media: MediaSource | None = None,
    **payload: Any,
) -> Call:
    given = {"prompt": prompt, **payload} if endpoint != "fal-ai/face-swap" else payload
    if endpoint == DEV and "image_size" not in given:
        given["image_size"] = {"width": 64, "height": 48}
    return Call(
        id=f"att_{prompt}",
        route=ROUTES[endpoint],
        payload=given,
        num_images=given.get("num_images", 1),
        timeout_s=timeout_s,
        media=media or NoMedia(),
    )


class Kept:
    """Our copies of a user's files, by key."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.reads: list[str | None] = []

    async def read(self, ref: MediaRef) -> bytes:
        self.reads.append(ref.key)
        return self.files[ref.key or ""]
