"""The provider `fal`: models that fal.ai hosts."""

import asyncio
import functools
import importlib
import importlib.util
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary

from msgspec import structs

from providers.base import (
    Call,
    Failed,
    Handle,
    Poll,
    ProviderContext,
    Running,
    Succeeded,
    Unavailable,
    Waiting,
    Webhook,
)
from providers.errors import JobCanceled, JobLost, ProviderError, ProviderUnavailable
from providers.fal.addresses import Addresses, read_addresses
from providers.fal.errors import of_result, of_run
from providers.fal.link import Link, Timeouts
from providers.fal.replies import Said
from providers.fal.results import MOST_PHASE, log_lines, read_result
from providers.http import create_client
from registry.schema import Route

if TYPE_CHECKING:
    from fal_client import Completed, InProgress

    from providers.fal.queue import Queue
    from providers.fal.uploads import Uploads
    from providers.fal.webhooks import Webhooks

__all__ = ["FalProvider"]

KEY = "FAL_KEY"
USER_IDS = "FAL_USER_ID"
MOST_ASKING = 400
"""Requests in flight to fal."""


class FalProvider:
    """Runs jobs on fal's queue. Build it with `create`.

    What stands on fal-client is loaded at the first use: its import takes a tenth of a second,
    for which `gateway models` has no use and an event loop no time.
    """

    type: ClassVar[str] = "fal"

    def __init__(
        self, link: Link, addresses: Addresses, timeouts: Timeouts, user_ids: frozenset[str] = frozenset()
    ) -> None:
        self._link = link
        self._addresses = addresses
        self._timeouts = timeouts
        self._user_ids = user_ids
        self._queue: Queue | None = None
        self._uploads: Uploads | None = None
        self._webhooks: Webhooks | None = None
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._canceled: set[str] = set()

    @classmethod
    def unavailable(cls, context: ProviderContext, route: Route) -> Unavailable | None:
        """See `providers.base.Provider.unavailable`."""
        name = context.row.key or KEY
        key = context.env.get(name, "").strip()
        if not key:
            return Unavailable(reason=f"the provider {context.name!r} has no key: set {name}", setting=name)
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            return Unavailable(
                reason=f"{name} is no key: it holds blanks or strange characters.", setting=name
            )
        try:
            read_addresses(context.env, context.row.base_url)
        except ValueError as error:
            return Unavailable(reason=str(error), setting=str(error).partition(" ")[0])
        if not _libraries_are_installed():
            return Unavailable(
                reason="fal-client or cryptography is not installed here: install image-gateway[fal]."
            )
        return None

    @classmethod
    def create(cls, context: ProviderContext, timeouts: Timeouts | None = None) -> "FalProvider":
        """See `providers.base.Provider.create`.

        Raises:
            ValueError: an address is none.
        """
        limits = timeouts or Timeouts()
        addresses = read_addresses(context.env, context.row.base_url)
        link = Link(
            create_client(timeout_s=limits.upload_s, max_connections=MOST_ASKING),
            context.env[context.row.key or KEY].strip(),
            context.name,
        )
        ids = context.env.get(USER_IDS, "").split(",")
        return cls(link, addresses, limits, frozenset(text.strip() for text in ids if text.strip()))

    def idempotent_submit(self, route: Route) -> bool:
        """Fal makes a job of each submit: never."""
        return False

    async def submit(self, call: Call) -> Handle | Succeeded:
        """See `providers.base.Provider.submit`. Files go up first; then one POST, never repeated."""
        queue, uploads = await self._loaded()
        arguments = await uploads.place(call)
        return await queue.submit(call.route.endpoint, arguments, call.timeout_s, call.webhook)

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        """See `providers.base.Provider.handle_for`."""
        return self._load()[0].handle_for(route.endpoint, remote_id)

    async def poll(self, handle: Handle) -> Poll:
        """See `providers.base.Provider.poll`. One look at a job at a time.

        Raises:
            ProviderUnavailable: fal could not be asked; the job may well go on.
        """
        async with self._asking.setdefault(handle.remote_id, asyncio.Lock()):
            try:
                return await self._look(handle)
            except ProviderError as error:
                if error.retry_same or error.try_next:
                    raise  # of this look, not of the job
                return self._ended(handle, error)

    async def cancel(self, handle: Handle) -> None:
        """See `providers.base.Provider.cancel`. What runs already may still end, and be billed.

        Raises:
            ProviderUnavailable: fal could not be asked.
        """
        queue, _ = await self._loaded()
        if await queue.cancel(handle):
            self._canceled.add(handle.remote_id)

    async def read_webhook(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Webhook:
        """See `providers.base.CallsBack.read_webhook`."""
        if self._webhooks is None:
            # Its library takes a while to import, for which an event loop has no time.
            await asyncio.to_thread(importlib.import_module, "providers.fal.webhooks")
        return await self._load_webhooks().read(headers, body, now_s)

    async def aclose(self) -> None:
        """See `providers.base.Provider.aclose`."""
        await self._link.client.aclose()

    async def _loaded(self) -> tuple["Queue", "Uploads"]:
        """The queue and the uploads; at the first use, fal-client is imported in a thread.

        Raises:
            ProviderUnavailable: it cannot be imported; nothing was sent.
        """
        if self._queue is None:
            try:
                await asyncio.to_thread(importlib.import_module, "providers.fal.queue")
            except ImportError as error:
                raise ProviderUnavailable(
                    "The gateway's fal-client cannot be loaded. Nothing was sent or charged; its "
                    "operator has to install image-gateway[fal] anew.",
                    provider=self._link.provider,
                    raw=repr(error),
                ) from error
        return self._load()

    def _load(self) -> tuple["Queue", "Uploads"]:
        from providers.fal.queue import Queue
        from providers.fal.uploads import Uploads

        self._queue = self._queue or Queue(self._link, self._addresses, self._timeouts)
        self._uploads = self._uploads or Uploads(
            self._link, self._addresses, timeout_s=self._timeouts.upload_s
        )
        return self._queue, self._uploads

    def _load_webhooks(self) -> "Webhooks":
        from providers.fal.webhooks import Webhooks

        self._webhooks = self._webhooks or Webhooks(
            self._link, self._addresses.jwks, self._user_ids, self._timeouts.status_s
        )
        return self._webhooks

    async def _look(self, handle: Handle) -> Poll:
        queue, _ = await self._loaded()
        # Lazy, as in `_load`.
        from fal_client import InProgress, Queued

        status = await queue.status(handle)
        if isinstance(status, Queued):
            return Waiting(position=status.position)
        if isinstance(status, InProgress):
            lines = self._lines(status)
            return Running(phase=lines[-1][:MOST_PHASE] if lines else None, logs=lines)
        return await self._collect(queue, handle, status)

    async def _collect(self, queue: "Queue", handle: Handle, status: "Completed") -> Poll:
        """The end of a job. The result tells more of a failure than the status does."""
        reply = await queue.result(handle)
        name = self._link.provider
        if not isinstance(reply, Said):
            if status.error or status.error_type:
                return self._ended(handle, of_run(_said(status), name))
            done = read_result(reply, self._addresses, name, status.metrics)
            self._canceled.discard(handle.remote_id)
            return structs.replace(done, logs=self._lines(status))
        if _not_ready(reply):
            return Running()
        error = of_result(reply, name)
        if (status.error or status.error_type) and (reply.status in (404, 410) or error.retry_same):
            error = of_run(_said(status), name)
        if error.retry_same:
            raise error  # the result could not be asked for: the next look does
        return self._ended(handle, error)

    def _lines(self, status: "InProgress | Completed") -> tuple[str, ...]:
        return tuple(self._link.clean(line) for line in log_lines(status.logs))

    def _ended(self, handle: Handle, error: ProviderError) -> Failed:
        if handle.remote_id in self._canceled:
            self._canceled.discard(handle.remote_id)
            if isinstance(error, JobLost):  # it was taken out of the queue, as we had asked
                error = JobCanceled("The job was canceled.", provider=error.provider, raw=error.raw)
        return Failed(error=error)


def _said(status: "Completed") -> Said:
    return Said(
        status=500,
        text=str(status.error or status.error_type)[:300],
        # fal-client types this as text; what comes is not checked by it.
        error_type=status.error_type if isinstance(status.error_type, str) else None,
        is_json=True,
        from_fal=True,
    )


def _not_ready(said: Said) -> bool:
    return said.status == 400 and "in progress" in said.text.lower()


@functools.cache
def _libraries_are_installed() -> bool:
    """A look at the folders of the environment, once a process; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("fal_client", "cryptography"))
