"""The provider `diffusers_modal`: our own diffusers backends.

A route of the tier `local` runs on an engine process (`gateway engine`), on this machine or on the
one that `GATEWAY_ENGINE` names. One of a GPU tier runs on Modal (`app.py`, reached by `remote.py`),
or with `DIFFUSERS_TARGET=local` on that engine too. Which of the two has a job, its handle says.
"""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace

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
from providers.diffusers_modal.address import NO_ENGINE, engine_elsewhere
from providers.diffusers_modal.gather import Gatherer
from providers.diffusers_modal.job import LORAS, engine_job
from providers.diffusers_modal.local import EngineClient, address_in, fixed_address
from providers.diffusers_modal.remote import ModalBackend
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

__all__ = ["DiffusersModalProvider", "modal_unavailable"]

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
MODAL_CALL = "fc-"
"""How the ids of Modal's function calls begin."""
MOST_PICTURES = 8
"""That one call of a pipeline draws. What does not fit into a GPU is tried again by halves; on a CPU the
whole engine may go before that."""


class DiffusersModalProvider:
    """Runs diffusers pipelines on an engine or on Modal. Build it with `create`."""

    type: ClassVar[str] = "diffusers_modal"

    def __init__(self, name: str, client: EngineClient, modal: ModalBackend, target: str) -> None:
        self._name = name
        self._client = client
        self._modal = modal
        self._target = target
        self._gatherer = Gatherer()

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
        if _on_engine(route, target):
            return _engine_unavailable(context.env)
        return _tier_unavailable(context.env, route.pipeline.tier)

    @classmethod
    def create(cls, context: ProviderContext) -> "DiffusersModalProvider":
        """See `providers.base.Provider.create`.

        Raises:
            ValueError: `GATEWAY_ENGINE` is not `host:port`.
        """
        remote = engine_elsewhere(context.env)
        if remote is None:
            address = address_in(Path(context.data_dir))
        else:
            address = fixed_address(remote.host, remote.port, remote.token)
        client = EngineClient(address, provider=context.name)
        modal = ModalBackend(context.env, provider=context.name)
        return cls(context.name, client, modal, context.env.get("DIFFUSERS_TARGET", ""))

    def idempotent_submit(self, route: Route) -> bool:
        """Our engine knows its jobs by our id; Modal makes a call of each spawn."""
        return _on_engine(route, self._target)

    def group_limit(self, route: Route, payload: Mapping[str, Any], num_images: int) -> int:
        """See `providers.base.TakesGroups.group_limit`: with pictures or LoRAs each runs by itself."""
        alone = payload.get(LORAS) or any(isinstance(value, MediaRef) for value in payload.values())
        return 1 if alone else max(1, MOST_PICTURES // num_images)

    async def submit(self, call: Call) -> Handle | Succeeded:
        """See `providers.base.Provider.submit`; a call of a group goes with the others of it."""
        job = await engine_job(call, self._name)
        group = call.group
        if group is None or group.size == 1:
            return await self._alone(call.route, job)
        if self.group_limit(call.route, call.payload, call.num_images) == 1:
            return await self._alone(call.route, job)
        return await self._gatherer.submit(group, job, partial(self._together, call.route))

    async def _alone(self, route: Route, job: wire.EngineJob) -> Handle:
        if _on_engine(route, self._target):
            await self._client.submit(job)
            return Handle(provider=self._name, remote_id=job.id)
        tier = _tier(route)
        return self._modal_handle(tier, await self._modal.submit(tier, job), job.id)

    async def _together(self, route: Route, jobs: Sequence[wire.EngineJob]) -> Sequence[Handle]:
        """Submit jobs as one; a handle each."""
        if len(jobs) == 1:  # the others did not come
            return [await self._alone(route, jobs[0])]
        if _on_engine(route, self._target):
            await self._client.submit_many(jobs)
            return [Handle(provider=self._name, remote_id=job.id) for job in jobs]
        tier = _tier(route)
        call_id = await self._modal.submit_many(tier, jobs)
        handles = (self._modal_handle(tier, call_id, job.id) for job in jobs)
        size = str(len(jobs))
        return [
            replace(handle, extra={**handle.extra, "place": str(place), "size": size})
            for place, handle in enumerate(handles)
        ]

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        """The handle of an engine's job, whose id is the attempt's, or of a Modal function call.

        Raises:
            RequestRejected: the route is Modal's and the id is not one of its function calls.
        """
        if _on_engine(route, self._target):
            return Handle(provider=self._name, remote_id=remote_id)
        if not remote_id.startswith(MODAL_CALL):
            raise RequestRejected(
                f"{remote_id!r} is no function call of Modal's: they start with {MODAL_CALL}.",
                provider=self._name,
            )
        return self._modal_handle(_tier(route), remote_id, "")

    def _modal_handle(self, tier: str, call_id: str, job_id: str) -> Handle:
        return Handle(provider=self._name, remote_id=call_id, extra={"tier": tier, "job": job_id})

    async def poll(self, handle: Handle) -> Poll:
        """See `providers.base.Provider.poll`."""
        tier = handle.extra.get("tier")
        if tier is None:
            reply = await self._client.poll(handle.remote_id)
        else:
            job_id, place = handle.extra.get("job", ""), _place(handle)
            reply = await self._modal.poll(tier, handle.remote_id, job_id, place)
        match reply:
            case wire.Queued(position=position):
                return Waiting(position=position)
            case wire.Running(phase=phase, step=step, steps=steps):
                return Running(phase=phase, step=step if steps else None, steps=steps or None)
            case wire.Done():
                return self._succeeded(reply)
            case wire.ErrorRecord():
                return Failed(error=self._error(reply, on_engine=tier is None))
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
            ProviderUnavailable: the engine or Modal could not be asked.
        """
        if "tier" in handle.extra:
            await self._modal.cancel(handle.remote_id, _place(handle), int(handle.extra.get("size", "1")))
        else:
            await self._client.cancel(handle.remote_id)

    async def aclose(self) -> None:
        """Close the connection to Modal; to an engine none is open between requests."""
        await self._gatherer.aclose()
        await self._modal.aclose()

    def _succeeded(self, done: wire.Done) -> Succeeded:
        images = tuple(
            ImageBytes(data=image.data, content_type=image.content_type, seed=image.seed)
            for image in done.images
        )
        return Succeeded(images=images, run_seconds=done.run_seconds, load_seconds=done.load_seconds)

    def _error(self, record: wire.ErrorRecord, *, on_engine: bool) -> ProviderError:
        message = _LOST if record.code == "unknown_job" and on_engine else record.message
        error = _ERRORS.get(record.code, ProviderUnavailable)
        return error(message, provider=self._name, raw=f"{record.code}: {record.message}")


@functools.cache
def _is_installed(*names: str) -> bool:
    """A look at the folders of the environment, once a process; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in names)


def _engine_unavailable(env: Mapping[str, str]) -> Unavailable | None:
    remote = env.get("GATEWAY_ENGINE", "")
    if remote == NO_ENGINE:
        return Unavailable(
            reason="GATEWAY_ENGINE is none: no engine runs diffusers models here.", setting="GATEWAY_ENGINE"
        )
    if env.get("GATEWAY_RUN_JOBS", "").strip() == "no":
        return None  # the engine is the workers', who may have one each
    if not remote:
        if _is_installed("torch", "diffusers"):
            return None
        return Unavailable(
            reason="torch and diffusers are not installed here: install image-gateway[diffusers], or "
            "set GATEWAY_ENGINE to the host:port of an engine on another machine.",
            setting="GATEWAY_ENGINE",
        )
    try:
        engine_elsewhere(env)
    except ValueError as error:
        return Unavailable(reason=str(error), setting="GATEWAY_ENGINE")
    if not env.get("GATEWAY_ENGINE_TOKEN"):
        return Unavailable(
            reason="GATEWAY_ENGINE needs GATEWAY_ENGINE_TOKEN, the token that engine was started with.",
            setting="GATEWAY_ENGINE_TOKEN",
        )
    return None


def modal_unavailable(env: Mapping[str, str]) -> Unavailable | None:
    """What to set so that Modal can be called; None when it can. Nothing is imported."""
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        if not env.get(name):
            return Unavailable(reason=f"Modal needs {name}: `modal token new` makes one.", setting=name)
    if not _is_installed("modal"):
        return Unavailable(reason="Modal's client is not installed: install image-gateway[modal].")
    return None


def _tier_unavailable(env: Mapping[str, str], tier: str) -> Unavailable | None:
    missing = modal_unavailable(env)
    if missing is None:
        return None
    return Unavailable(
        reason=f"The GPU tier {tier} runs on Modal. {missing.reason} Or set DIFFUSERS_TARGET=local to run it "
        "on this machine's engine.",
        setting=missing.setting or "DIFFUSERS_TARGET",
    )


def _on_engine(route: Route, target: str) -> bool:
    """Whether a route runs on an engine process rather than on Modal."""
    return target == "local" or _tier(route) == "local"


def _place(handle: Handle) -> int | None:
    """Of a job in the group that is one function call of Modal's; None when it has one of its own."""
    return int(handle.extra["place"]) if "place" in handle.extra else None


def _tier(route: Route) -> str:
    return route.pipeline.tier if route.pipeline is not None else "local"
