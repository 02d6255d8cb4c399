"""A client of the GPU tiers on Modal: submit, poll, cancel, and fetch weights.

`import modal` takes a second and starts a thread, so it waits for the first use. Every question
has a deadline of its own: Modal's client tries to connect for a minute, and some of its calls
for ever.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from providers.diffusers_modal import modal_errors
from providers.diffusers_modal.deployment import APP_NAME, FETCH_NAME, PROGRESS_NAME, class_name
from providers.diffusers_modal.modal_client import Connection
from providers.diffusers_modal.wire import (
    Done,
    EngineJob,
    ErrorRecord,
    PipelineSpec,
    Queued,
    Reply,
    Running,
)
from providers.errors import ProviderError, ProviderFailed, SubmitUnknown

__all__ = ["FetchProgress", "ModalBackend", "TierStats"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

_answers: msgspec.msgpack.Decoder[Done | ErrorRecord] = msgspec.msgpack.Decoder(Done | ErrorRecord)
_news = msgspec.msgpack.Decoder(Running)

_STEP_S = 600.0
"""Seconds for the next step of a download, the start of its container and the last commit included."""
_SLOW = 1_000_000
"""Bytes a second that an upload has at least."""
_WATCHED = 4096
"""Calls whose last news are remembered; the oldest are forgotten first."""
_KEPT = 4
"""Results of groups that are held for those of their jobs that have not asked yet."""
_CANCELED = ErrorRecord(code="canceled", message="The job was canceled.")


class FetchProgress(Struct, frozen=True, kw_only=True):
    """How far a download of weights is."""

    done_bytes: int
    total_bytes: int
    file: str
    """The last file that something came of."""


class TierStats(Struct, frozen=True, kw_only=True):
    """A GPU tier as it stands."""

    backlog: int
    """Jobs that wait."""
    runners: int
    """Containers, starting ones included."""
    running: int
    """Jobs that run."""


class _Watch(Struct):
    """What is known of a call between two polls."""

    latest: Queued | Running | None = None
    look_at: float = 0.0
    canceled: bool = False
    given_up: set[int] = msgspec.field(default_factory=set)
    """Places in the group whose jobs were canceled, while the call goes on for the others."""
    asking: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    """One of a group's jobs fetches the result of all."""


class ModalBackend:
    """Runs jobs in the deployed app. One instance a process; nothing is opened before it is needed.

    Args:
        env: `MODAL_TOKEN_ID`, `MODAL_TOKEN_SECRET`, and if set `MODAL_SERVER_URL` and
            `MODAL_ENVIRONMENT`. No other source of credentials is read.
        provider: the registry's name of the provider, for errors.
        connect_s: seconds for the first connection.
        ask_s: seconds for a question; a submit and a result have these and `transfer_s` more.
        transfer_s: seconds for large data to go or come.
        look_s: seconds between two looks at the progress of one job.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        provider: str = "",
        connect_s: float = 15.0,
        ask_s: float = 10.0,
        transfer_s: float = 30.0,
        look_s: float = 1.0,
    ) -> None:
        self._provider = provider
        self._ask_s = ask_s
        self._transfer_s = transfer_s
        self._look_s = look_s
        self._connection = Connection(env, provider=provider, connect_s=connect_s)
        self._methods: dict[str, Any] = {}
        self._board: Any = None
        self._watches: OrderedDict[str, _Watch] = OrderedDict()
        self._results: OrderedDict[str, Any] = OrderedDict()
        self._stats: dict[str, tuple[float, TierStats]] = {}

    async def greet(self) -> None:
        """See that Modal answers, and takes the token.

        Raises:
            ProviderUnavailable, CredentialsRejected, TargetUnavailable: it does not.
        """
        await self._connection.assure(self._ask_s)

    async def submit(self, tier: str, job: EngineJob) -> str:
        """Hand a job to a tier, once; returns the id of Modal's function call (`fc-...`).

        Modal's client may repeat the request on the wire under one key, which is one call.

        Raises:
            SubmitUnknown: it was sent, and no answer came.
            TargetUnavailable: the backend is not deployed.
            CredentialsRejected, RateLimited, ProviderUnavailable, ProviderFailed: not taken.
        """
        data = msgspec.msgpack.encode(job)
        return await self._spawn(tier, "generate", data, len(data))

    async def submit_many(self, tier: str, jobs: Sequence[EngineJob]) -> str:
        """Hand jobs to a tier that are to run together, once: one function call, whose id is returned. The
        place of a job in `jobs` is what `poll` and `cancel` know it by. Raises as `submit` does.
        """
        data = [msgspec.msgpack.encode(job) for job in jobs]
        return await self._spawn(tier, "generate_many", data, sum(map(len, data)))

    async def _spawn(self, tier: str, name: str, data: bytes | list[bytes], size: int) -> str:
        method = await self._method(tier, name)
        # Now a connection that is down is found out before anything was sent.
        await self._connection.assure(self._ask_s)
        try:
            async with asyncio.timeout(self._ask_s + self._transfer_s + size / _SLOW):
                call = await method.spawn.aio(data)
        except TimeoutError as error:
            raise SubmitUnknown(
                "Modal was sent the job and gave no answer.", provider=self._provider, raw=repr(error)
            ) from error
        except Exception as error:
            # An app that was stopped and deployed anew has other ids: look it up the next time.
            self._forget()
            raise modal_errors.submitting(error, self._provider) from error
        self._connection.heard()
        return str(call.object_id)

    async def poll(self, tier: str, call_id: str, job_id: str, place: int | None = None) -> Reply:
        """`Queued`, `Running`, `Done` or an `ErrorRecord`; one look, without waiting.

        Args:
            tier: where it was submitted.
            call_id: what `submit` returned, in this process or another.
            job_id: the job's own id, for its progress; empty when it is not known.
            place: in the group that `submit_many` was given.

        Raises:
            ProviderUnavailable: Modal could not be asked, or the result not be fetched.
            CredentialsRejected: it refused the token.
        """
        watch = self._watch(call_id)
        if place in watch.given_up:
            return _CANCELED
        if place is None:
            data = await self._result(call_id, watch)
        else:
            async with watch.asking:
                data = self._results.get(call_id) or await self._result(call_id, watch)
                self._keep(call_id, data)
        if isinstance(data, ErrorRecord):
            return data
        return await self._not_yet(tier, job_id, watch) if data is None else self._answer(data, place)

    async def _result(self, call_id: str, watch: _Watch) -> Any:
        """What a call returned; None while it goes on."""
        modal, client = await self._connection.open()
        call = modal.FunctionCall.from_id(call_id, client=client)
        try:
            async with asyncio.timeout(self._ask_s + self._transfer_s) as deadline:
                data = await call.get.aio(timeout=0)
        except TimeoutError as error:
            # Modal says "not yet" with the exception that a deadline raises.
            if deadline.expired():
                raise modal_errors.asking(error, self._provider) from error
        except Exception as error:
            record = modal_errors.ended(error, canceled=watch.canceled)
            if record is None:
                raise modal_errors.asking(error, self._provider) from error
            _logger.info("the call %s ended: %r", call_id, error)
            return record
        else:
            self._connection.heard()
            return data
        self._connection.heard()
        return None

    def _keep(self, call_id: str, data: Any) -> None:
        """Hold a group's result for its other jobs, so that it is not fetched for each."""
        if isinstance(data, list):
            self._results[call_id] = data
            while len(self._results) > _KEPT:
                self._results.popitem(last=False)

    async def cancel(self, call_id: str, place: int | None = None, size: int = 1) -> None:
        """Ask for a call's end; unknown and ended calls are no error.

        Args:
            call_id: as for `poll`.
            place: in a group: the call goes on while another of its jobs is wanted.
            size: jobs of the group.

        Raises:
            ProviderUnavailable: Modal could not be asked.
            CredentialsRejected: it refused the token.
        """
        watch = self._watch(call_id)
        if place is not None:
            watch.given_up.add(place)
            if len(watch.given_up) < size:
                return
        modal, client = await self._connection.open()
        watch.canceled = True
        try:
            await self._within(self._ask_s, modal.FunctionCall.from_id(call_id, client=client).cancel.aio())
        except Exception as error:
            if not modal_errors.is_unknown_call(error):
                raise self._asking(error) from error

    async def stats(self, tier: str) -> TierStats:
        """How busy a tier is.

        Raises:
            TargetUnavailable: it is not deployed.
            ProviderUnavailable, CredentialsRejected: it could not be asked.
        """
        method = await self._method(tier, "generate")
        try:
            found = await self._within(self._ask_s, method.get_current_stats.aio())
        except Exception as error:
            raise self._asking(error) from error
        return TierStats(
            backlog=found.backlog, runners=found.num_total_runners, running=found.num_running_inputs
        )

    async def fetch(self, tier: str, spec: PipelineSpec) -> AsyncIterator[FetchProgress]:
        """Download a model's weights to the backend's volume, telling how far it is each second.

        No GPU is woken. What is there already downloads nothing, and `total_bytes` is 0.

        Args:
            tier: where the model will run; one volume serves all tiers.
            spec: which weights.

        Raises:
            TargetUnavailable: the backend is not deployed.
            ProviderFailed: the download failed; the message says why.
            ProviderUnavailable, CredentialsRejected: Modal could not be asked.
        """
        modal, client = await self._connection.open()
        function = modal.Function.from_name(
            APP_NAME, FETCH_NAME, environment_name=self._connection.environment, client=client
        )
        steps = function.remote_gen.aio(msgspec.msgpack.encode(spec))
        async with contextlib.aclosing(steps):
            while True:
                try:
                    step = await self._within(_STEP_S, anext(steps))
                except StopAsyncIteration:
                    return
                except Exception as error:
                    raise self._asking(error) from error
                if step["error"]:
                    raise ProviderFailed(step["error"], provider=self._provider)
                yield FetchProgress(
                    done_bytes=step["done_bytes"], total_bytes=step["total_bytes"], file=step["file"]
                )

    async def aclose(self) -> None:
        """Close the connection. Idempotent; a later call opens another."""
        self._forget()
        await self._connection.aclose()

    async def _method(self, tier: str, name: str) -> Any:
        """A hydrated handle: what a call needs to know is here, and only the call is left to send."""
        modal, client = await self._connection.open()
        key = f"{tier}.{name}"
        if key not in self._methods:
            environment = self._connection.environment
            found = modal.Cls.from_name(
                APP_NAME, class_name(tier), environment_name=environment, client=client
            )
            method = getattr(found(), name)
            try:
                await self._within(self._ask_s, method.hydrate.aio())
            except Exception as error:
                raise self._asking(error) from error
            self._methods[key] = method
        return self._methods[key]

    def _forget(self) -> None:
        self._methods.clear()
        self._board = None

    async def _within(self, seconds: float, question: Awaitable[T]) -> T:
        async with asyncio.timeout(seconds):
            answer = await question
        self._connection.heard()
        return answer

    def _asking(self, error: Exception) -> ProviderError:
        return modal_errors.asking(error, self._provider)

    def _watch(self, call_id: str) -> _Watch:
        watch = self._watches.setdefault(call_id, _Watch())
        self._watches.move_to_end(call_id)
        while len(self._watches) > _WATCHED:
            self._watches.popitem(last=False)
        return watch

    def _answer(self, data: Any, place: int | None) -> Done | ErrorRecord:
        try:
            return _answers.decode(data if place is None else data[place])
        except (msgspec.DecodeError, TypeError, LookupError, UnicodeDecodeError) as error:
            _logger.warning("the backend's answer cannot be read: %s", error)
            return ErrorRecord(code="engine_failed", message="The GPU backend's answer cannot be read.")

    async def _not_yet(self, tier: str, job_id: str, watch: _Watch) -> Queued | Running:
        """Where an unfinished job is; asked for at most every `look_s` seconds."""
        now = time.monotonic()
        if now >= watch.look_at:
            watch.look_at = now + self._look_s
            watch.latest = await self._progress(job_id) or await self._place(tier, watch)
        return watch.latest or Queued(position=0)

    async def _progress(self, job_id: str) -> Running | None:
        if not job_id:
            return None
        modal, client = await self._connection.open()
        if self._board is None:
            self._board = modal.Dict.from_name(
                PROGRESS_NAME,
                create_if_missing=True,
                environment_name=self._connection.environment,
                client=client,
            )
        try:
            data = await self._within(self._ask_s, self._board.get.aio(job_id))
            return None if data is None else _news.decode(data)
        except Exception:
            # The job is none the worse for it.
            _logger.warning("the progress of %s could not be read", job_id, exc_info=True)
            return None

    async def _place(self, tier: str, watch: _Watch) -> Queued | Running:
        """Before the first news, and after the last: what was true before, or a place in line."""
        if isinstance(watch.latest, Running):
            return watch.latest
        try:
            stats = await self._recent_stats(tier)
        except ProviderError as error:
            _logger.warning("the queue of %s could not be read: %s", tier, error.raw)
            return watch.latest or Queued(position=0)
        # Its own place is not told; it is among those that wait, and nobody comes in before it.
        ahead = max(0, stats.backlog - 1) + stats.running
        before = watch.latest.position if watch.latest is not None else ahead
        return Queued(position=min(before, ahead))

    async def _recent_stats(self, tier: str) -> TierStats:
        """One question a tier for all the jobs that wait there."""
        known = self._stats.get(tier)
        now = time.monotonic()
        if known is None or now >= known[0] + self._look_s:
            known = self._stats[tier] = (now, await self.stats(tier))
        return known[1]
