"""The provider `diffusers_modal`: our own diffusers backends.

A route of the tier `local` runs on an engine process (`gateway engine`), on this machine or on the
one that `GATEWAY_ENGINE` names. One of a GPU tier runs on Modal (`app.py`, reached by `remote.py`),
or with `DIFFUSERS_TARGET=local` on that engine too. Which of the two has a job, its handle says.
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
    Poll,
    ProviderContext,
    Running,
    Succeeded,
    Unavailable,
    Waiting,
)
from providers.diffusers_modal import wire
from providers.diffusers_modal.job import engine_job
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


class DiffusersModalProvider:
    """Runs diffusers pipelines on an engine or on Modal. Build it with `create`."""

    type: ClassVar[str] = "diffusers_modal"

    def __init__(self, name: str, client: EngineClient, modal: ModalBackend, target: str) -> None:
        self._name = name
        self._client = client
        self._modal = modal
        self._target = target

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
        remote = context.env.get("GATEWAY_ENGINE", "")
        if remote:
            host, port = _host_port(remote)
            address = fixed_address(host, port, context.env.get("GATEWAY_ENGINE_TOKEN", ""))
        else:
            address = address_in(Path(context.data_dir))
        client = EngineClient(address, provider=context.name)
        modal = ModalBackend(context.env, provider=context.name)
        return cls(context.name, client, modal, context.env.get("DIFFUSERS_TARGET", ""))

    def idempotent_submit(self, route: Route) -> bool:
        """Our engine knows its jobs by our id; Modal makes a call of each spawn."""
        return _on_engine(route, self._target)

    async def submit(self, call: Call) -> Handle | Succeeded:
        """See `providers.base.Provider.submit`."""
        job = await engine_job(call, self._name)
        if _on_engine(call.route, self._target):
            await self._client.submit(job)
            return Handle(provider=self._name, remote_id=call.id)
        tier = _tier(call.route)
        return self._modal_handle(tier, await self._modal.submit(tier, job), call.id)

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
            reply = await self._modal.poll(tier, handle.remote_id, handle.extra.get("job", ""))
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
            await self._modal.cancel(handle.remote_id)
        else:
            await self._client.cancel(handle.remote_id)

    async def aclose(self) -> None:
        """Close the connection to Modal; to an engine none is open between requests."""
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
    if not remote:
        if _is_installed("torch", "diffusers"):
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


def _tier(route: Route) -> str:
    return route.pipeline.tier if route.pipeline is not None else "local"


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"GATEWAY_ENGINE is {text!r}; it is host:port, as in gpu-box:7860.")
    return host.strip("[]"), int(port)
