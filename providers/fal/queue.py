"""fal's queue: a submit that is sent once, and status, result and cancel by the reply's own URLs."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import httpx
import msgspec
from fal_client import AsyncRequestHandle, Completed, FalClientHTTPError, InProgress, Queued
from fal_client.client import AppId
from msgspec import Struct

from providers.base import Handle
from providers.errors import ProviderError, ProviderUnavailable, RequestRejected, SubmitUnknown
from providers.fal.addresses import Addresses
from providers.fal.errors import of_result, of_status, of_submit
from providers.fal.link import Link, Timeouts, fal_client_view
from providers.fal.replies import Said
from providers.http import provably_not_sent

__all__ = ["Queue", "Status", "Timeouts"]

Status = Queued | InProgress | Completed

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
LEAST_START_S = 1.1
"""fal wants more than a second to start in."""
URLS = ("status_url", "response_url", "cancel_url")


class _Accepted(Struct, frozen=True, kw_only=True):
    request_id: str
    status_url: str
    response_url: str
    cancel_url: str


class Queue:
    """The queue of one fal account.

    Args:
        link: what sends.
        addresses: fal's.
        timeouts: of each kind of request.
    """

    def __init__(self, link: Link, addresses: Addresses, timeouts: Timeouts) -> None:
        self._link = link
        self._addresses = addresses
        self._timeouts = timeouts

    async def submit(
        self, endpoint: str, arguments: dict[str, Any], start_within_s: float, webhook: str | None = None
    ) -> Handle:
        """Hand a job over, in one request that is never repeated.

        Args:
            endpoint: `fal-ai/flux/dev`.
            arguments: the endpoint's input; media as URLs.
            start_within_s: seconds after which fal is not to begin it any more.
            webhook: what fal is to call when it has ended.

        Raises:
            SubmitUnknown: it may have been taken.
            ProviderError: another class: it was not taken.
        """
        name = self._link.provider
        headers = {
            **self._link.authorization(),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "X-Fal-Request-Timeout": f"{max(LEAST_START_S, start_within_s):.1f}",
            # Another endpoint in its place would be another picture at another price.
            "x-app-fal-disable-fallback": "true",
        }
        body = msgspec.json.encode(arguments)
        url = f"{self._addresses.queue}/{endpoint}"
        query = {"fal_webhook": webhook} if webhook else None
        try:
            async with asyncio.timeout(self._timeouts.submit_s):
                response = await self._link.client.post(
                    url, content=body, headers=headers, params=query, timeout=self._silence()
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise self._unanswered(error) from error
        if not response.is_success:
            raise of_submit(self._link.read(response), name)
        return self._accepted(response, endpoint)

    def handle_for(self, endpoint: str, request_id: str) -> Handle:
        """The handle of a job whose acceptance was lost, its URLs made by fal-client's rule: the
        app alone, without the path below it.

        Raises:
            RequestRejected: that is no request id.
        """
        if not _REQUEST_ID.fullmatch(request_id):
            raise RequestRejected(
                "That is no request id of fal's: those are letters, digits and dashes.",
                provider=self._link.provider,
            )
        app = AppId.from_endpoint_id(endpoint)
        parts = [part for part in (app.namespace, app.owner, app.alias) if part]
        job = "/".join([self._addresses.queue, *parts, "requests", request_id])
        urls = {"status_url": f"{job}/status", "response_url": job, "cancel_url": f"{job}/cancel"}
        return Handle(
            provider=self._link.provider, remote_id=request_id, extra={"endpoint": endpoint, **urls}
        )

    async def status(self, handle: Handle) -> Status:
        """Where a job stands.

        Raises:
            ProviderUnavailable: fal could not be asked, or gave no answer of its protocol.
            JobLost: fal does not know it.
            MalformedOutput: the handle's URL is not fal's.
        """
        job = self._job(handle, of_status, self._timeouts.status_s)
        try:
            status = cast(Status, await job.status(with_logs=True))
        except (KeyError, TypeError, ValueError) as error:
            # One answer that cannot be read says nothing of a job that was paid for.
            raise ProviderUnavailable(
                "fal's answer about the job cannot be read.",
                provider=self._link.provider,
                raw=self._link.clean(repr(error))[:300],
            ) from error
        return status

    async def result(self, handle: Handle) -> httpx.Response | Said:
        """The reply that holds an ended job's result, or what fal says where there is none.

        We fetch it: fal-client's handle keeps the headers to itself, and they have the bill.

        Raises:
            ProviderUnavailable: no reply.
            MalformedOutput: the handle's URL is not fal's.
        """
        view = fal_client_view(
            self._link,
            may_ask=self._addresses.has_job,
            refuse=of_result,
            within_s=self._timeouts.result_s,
            accept=tuple(range(300, 600)),
        )
        response = await view.request("GET", handle.extra["response_url"])
        return response if response.is_success else self._link.read(response)

    async def cancel(self, handle: Handle) -> bool:
        """Ask for a job's end; False when it had ended already.

        True for a job that fal does not know, too: a canceled one leaves the queue so, and the
        cancel before this one may have been another process's.

        Raises:
            ProviderUnavailable: fal could not be asked.
            MalformedOutput: the handle's URL is not fal's.
        """
        job = self._job(handle, of_status, self._timeouts.status_s, accept=(400, 404))
        try:
            await job.cancel()
        except FalClientHTTPError as error:  # the two statuses above, and no other
            return error.status_code == 404
        return True

    def _job(
        self,
        handle: Handle,
        refuse: Callable[[Said, str], ProviderError],
        within_s: float,
        accept: tuple[int, ...] = (),
    ) -> AsyncRequestHandle:
        view = fal_client_view(
            self._link,
            may_ask=self._addresses.has_job,
            refuse=refuse,
            within_s=within_s,
            accept=accept,
        )
        urls = {name: handle.extra[name] for name in URLS}
        return AsyncRequestHandle(request_id=handle.remote_id, client=view, **urls)

    def _silence(self) -> httpx.Timeout:
        """Waiting for a connection ends before the whole submit does: then it was not sent."""
        whole = self._timeouts.submit_s
        return httpx.Timeout(whole, connect=min(5.0, whole / 3), pool=min(10.0, whole / 3))

    def _unanswered(self, error: Exception) -> ProviderError:
        raw = self._link.clean(repr(error))[:300]
        if provably_not_sent(error) or isinstance(error, httpx.InvalidURL):
            return ProviderUnavailable(
                "fal could not be reached. Nothing was sent or charged.",
                provider=self._link.provider,
                raw=raw,
            )
        return SubmitUnknown(
            "fal was sent the job and gave no answer.", provider=self._link.provider, raw=raw
        )

    def _accepted(self, response: httpx.Response, endpoint: str) -> Handle:
        """The handle of an acceptance. One that cannot be followed is a job all the same: unknown."""
        try:
            reply = msgspec.json.decode(response.content, type=_Accepted)
        except msgspec.DecodeError as error:
            raise self._lost_track(response, f"no acceptance: {error}") from error
        if not _REQUEST_ID.fullmatch(reply.request_id):
            raise self._lost_track(response, "its request id cannot be one")
        urls = {name: getattr(reply, name) for name in URLS}
        if not all(self._addresses.has_job(url) for url in urls.values()):
            raise self._lost_track(response, "its URLs name a host that is not fal's")
        return Handle(
            provider=self._link.provider, remote_id=reply.request_id, extra={"endpoint": endpoint, **urls}
        )

    def _lost_track(self, response: httpx.Response, why: str) -> SubmitUnknown:
        said = self._link.clean(response.content[:2000].decode("utf-8", "replace"))
        return SubmitUnknown(
            "fal took the job, but its answer does not say how to follow it.",
            provider=self._link.provider,
            raw=f"HTTP {response.status_code}, {why}: {said}"[:1000],
        )
