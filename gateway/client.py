"""A small client of the gateway's own API, for the command line and for programs."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import httpx

from gateway.ambient import Ambient
from gateway.problems import MEDIA_TYPE

__all__ = ["GatewayClient", "GatewayFailure"]

OWN = "/api/jobs"
NOT_YET = ("unknown", "scheduled")
SETTLED = ("completed", "failed", "canceled", *NOT_YET)
"""Nothing comes of waiting: it has ended, or it is somebody else's turn to do something."""
SILENCE_S = 60.0
"""An event stream that says nothing for so long, not even that it lives, is dead."""
PAUSES_S = (0.5, 2.0)
REPORT_S = 120.0
"""A report over very many jobs may take a while."""


class GatewayFailure(Exception):
    """The gateway answered with a problem.

    Args:
        problem: the problem document.
        status: the HTTP status.
    """

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        super().__init__(problem.get("detail") or f"HTTP {status}")
        self.problem = problem
        self.status = status

    @property
    def code(self) -> str:
        """The stable code."""
        return str(self.problem.get("code", "unknown"))


class GatewayClient:
    """Calls a gateway.

    Args:
        http: a client whose base URL is the gateway's.
        streams: follow jobs by their events; not where `http` reads answers whole, as it does in process.
        ambient: makes the keys by which a request is known when it is sent again.
        pauses_s: seconds before each time that `generate` sends its request again.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        ambient: Ambient | None = None,
        pauses_s: tuple[float, ...] = PAUSES_S,
        *,
        streams: bool = False,
    ) -> None:
        self._http = http
        self._streams = streams
        self._ambient = ambient or Ambient()
        self._pauses_s = pauses_s

    async def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One call with a JSON answer; an empty one where there is nothing to say (204).

        Raises:
            GatewayFailure: the gateway refused.
            httpx.TransportError: it cannot be reached.
        """
        response = await self._http.request(method, path, json=body, headers=headers)
        _check(response)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    async def report(self, path: str, media_type: str) -> str:
        """A report as text of another type than JSON.

        Raises:
            GatewayFailure: the gateway refused.
            httpx.TransportError: it cannot be reached.
        """
        response = await self._http.get(path, headers={"Accept": media_type}, timeout=REPORT_S)
        _check(response)
        return response.text

    async def generate(
        self,
        body: dict[str, Any],
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        *,
        path: str = "/api/images/generate",
    ) -> dict[str, Any]:
        """Make images and follow the job for as long as it goes on.

        A request whose answer is lost is sent again under the same key: it makes one job.

        Args:
            body: as `path` takes it.
            on_progress: told the job after each look at it.
            path: what makes the job; `/api/templates/<name>` runs a template.

        Returns:
            The job: completed, failed, canceled, unknown, or scheduled: it waits for its turn.
        """
        return await self.follow(await self._generate(path, body), on_progress)

    async def _generate(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Prefer": "respond-async", "Idempotency-Key": self._ambient.unique()}
        for pause_s in self._pauses_s:
            try:
                return await self.call("POST", path, body, headers)
            except httpx.TransportError:
                pass  # whether it was taken nobody knows: its key does
            except GatewayFailure as failure:
                if not _passes(failure):
                    raise
            await asyncio.sleep(pause_s)
        return await self.call("POST", path, body, headers)

    async def follow(
        self,
        job: dict[str, Any],
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        *,
        under: str = OWN,
    ) -> dict[str, Any]:
        """Follow a job for as long as it goes on, by its events or by looking at it; the job as it is then.

        Args:
            job: as it was answered.
            on_progress: told the job after each look at it.
            under: where to look: an admin finds anybody's under `/api/admin/jobs`.
        """
        if self._streams and under == OWN and job["status"] not in SETTLED:
            job = await self._listen(job, on_progress or _nobody)
        while job["status"] not in SETTLED:
            if on_progress is not None:
                on_progress(job)
            await asyncio.sleep(0.1)
            job = await self.call("GET", f"{under}/{job['jobId']}")
        return job

    async def _listen(
        self, job: dict[str, Any], on_progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Follow a job by its events until it has settled, or they end; the job as they told it."""
        on_progress(job)
        try:
            async with aclosing(self._events(job["jobId"])) as events:
                async for name, data in events:
                    if name == "done":
                        return data
                    if name == "status":
                        job = {**job, "status": data["status"]}
                    elif name == "progress":
                        job = {**job, "progress": data}
                    if job["status"] in NOT_YET:
                        break
                    if job["status"] not in SETTLED:  # else `done` is the next
                        on_progress(job)
        except httpx.TransportError:
            pass  # who looks at it next says whether the gateway is there
        # What the events told is a part of the job.
        return await self.call("GET", f"{OWN}/{job['jobId']}")

    async def _events(self, job_id: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """A job's events; none from a gateway that has none."""
        timeout = httpx.Timeout(30, read=SILENCE_S)
        async with self._http.stream("GET", f"{OWN}/{job_id}/events", timeout=timeout) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return
            name, data = "", ""
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data += value
                elif not line:
                    if name and data:
                        yield name, json.loads(data)
                    name, data = "", ""

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job; the job as it is then."""
        return await self.call("DELETE", f"/api/jobs/{job_id}")

    async def file(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[str, bytes]:
        """One call with a file as its answer; its type, and its bytes.

        Raises:
            GatewayFailure: the gateway refused.
            httpx.TransportError: it cannot be reached.
        """
        response = await self._http.request(method, path, json=body, timeout=REPORT_S)
        _check(response)
        return response.headers["content-type"], response.content

    async def upload(self, data: bytes, content_type: str) -> str:
        """Upload a picture or weights; what to write where an input wants a URL.

        Raises:
            GatewayFailure: the gateway refused.
            httpx.TransportError: it cannot be reached.
        """
        headers = {"Content-Type": content_type}
        response = await self._http.post("/api/uploads", content=data, headers=headers, timeout=REPORT_S)
        _check(response)
        return str(response.json()["url"])

    async def image(self, image_id: str) -> bytes:
        """The bytes of a picture.

        Raises:
            GatewayFailure: there is no such picture.
            httpx.TransportError: the gateway cannot be reached.
        """
        response = await self._http.get(f"/images/{image_id}")
        _check(response)
        return response.content


def _nobody(job: dict[str, Any]) -> None:
    """Nobody wants to know."""


def _passes(failure: GatewayFailure) -> bool:
    """Whether the same request may do better in a moment."""
    away = failure.status == 503 and failure.problem.get("retryable", not failure.problem)
    return bool(away) or failure.code == "idempotency_in_flight"


def _check(response: httpx.Response) -> None:
    if response.is_error:
        is_problem = response.headers.get("content-type", "").startswith(MEDIA_TYPE)
        raise GatewayFailure(response.json() if is_problem else {}, response.status_code)
