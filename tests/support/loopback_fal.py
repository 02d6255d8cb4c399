"""fal.ai on loopback: its queue, uploads and files over real sockets, stricter than the real one.

with LoopbackFal() as fal:
    env = fal.env()                                   # FAL_KEY, FAL_QUEUE_URL, ...
    fal.fail("submit", "lost")                        # the next submit is taken, its reply lost
    fal.fail("job", "nsfw", endpoint="fal-ai/flux/dev", times=3)
    ...
    assert len(fal.jobs) == 1                         # the invoice log
    assert fal.violations == []                       # what the client did against the protocol
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from support.loopback_fal_billing import units_of
from support.loopback_fal_faults import FAULTS, WIRE, JobFault, said
from support.loopback_fal_http import HttpServer, Reply, Request, answer
from support.loopback_fal_images import broken, picture, size_of, vector
from support.loopback_fal_models import MORE_ENDPOINTS
from support.loopback_fal_schema import ENDPOINTS as FLUX_ENDPOINTS
from support.loopback_fal_schema import Bad, asked_size
from support.loopback_fal_stations import drawn, is_vector, refusal, station_of
from support.loopback_fal_webhooks import Caller

ENDPOINTS = FLUX_ENDPOINTS | MORE_ENDPOINTS
KEY = "loopback-id:loopback-secret"
CDN_TOKEN = "loopback-cdn-token"


@dataclass
class Job:
    """One accepted job: a line of the invoice log."""

    id: str
    endpoint: str
    payload: dict[str, Any]
    headers: dict[str, str]
    fault: str | None
    bad: list[Bad]
    units: Decimal = Decimal(0)
    """Billed: megapixels, pictures, seconds or dollars; 0 until it succeeded."""
    looks: int = 0
    asking: int = 0
    canceled: bool = False
    ended: bool = False
    finished: bool = False
    """It is done at the next look, however few there were."""
    webhook: str | None = None
    at: float = field(default_factory=time.time)
    """When it was taken, in seconds since 1970 UTC."""


@dataclass
class Fault:
    at: str
    kind: str
    endpoint: str | None
    times: int
    taken: bool


@dataclass
class Upload:
    content_type: str
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)


class LoopbackFal(HttpServer):
    """See the module.

    Args:
        queued: status calls that answer IN_QUEUE before a job runs.
        running: status calls that answer IN_PROGRESS before it is done.
        refuse_at: where an input that is wrong is refused: `result`, as the real one does, or
            `submit`.
    """

    def __init__(self, *, queued: int = 1, running: int = 1, refuse_at: str = "result") -> None:
        super().__init__()
        self.queued = queued
        self.running = running
        self.refuse_at = refuse_at
        self.jobs: list[Job] = []
        self.requests: list[Request] = []
        self.uploads: dict[str, Upload] = {}
        self.files: dict[str, tuple[bytes, str]] = {}
        self.violations: list[str] = []
        self.foreign_urls: str | None = None
        """A base URL that acceptances name in place of ours."""
        self.caller = Caller(self.violations)
        self.calls_before_answering = False
        """A job is done, and its webhook delivered, before its submit is answered."""
        self.counts_for = 1
        """So many units are counted, and billed, for each that there should be."""
        self._faults: list[Fault] = []
        self._changed = threading.Condition()

    # -- what a test does ---------------------------------------------------------------

    def env(self) -> dict[str, str]:
        """The environment that makes a gateway use this fal."""
        urls = {name: self.url for name in ("FAL_QUEUE_URL", "FAL_REST_URL", "FAL_CDN_URL")}
        return {"FAL_KEY": KEY, "FAL_JWKS_URL": f"{self.url}/.well-known/jwks.json", **urls}

    def finish(self, job: Job) -> int | None:
        """End a job, and call its webhook as the real one does; what that answered."""
        job.finished = True
        return self.caller.deliver(job.webhook, job.id) if job.webhook else None

    def fail(
        self, at: str, kind: str, *, endpoint: str | None = None, times: int = 1, taken: bool = True
    ) -> None:
        """Let something go wrong.

        Args:
            at: submit, status, result, cancel, token, upload, file; or `job`, for how a job ends.
            kind: of `WIRE`, `FAULTS` or `JobFault` in `loopback_fal_faults`.
            endpoint: only there.
            times: how often; -1 is always.
            taken: the job is accepted all the same, where a submit's reply is spoiled on the wire
                or is a 5xx.
        """
        known = JobFault if at == "job" else (*WIRE, *FAULTS)
        assert kind in known, f"{kind} is none of {', '.join(known)}"
        self._faults.append(Fault(at, kind, endpoint, times, taken))

    def wait(self, until: Callable[[], bool], timeout_s: float = 20) -> None:
        """Block until it is so; looked at after each request."""
        with self._changed:
            assert self._changed.wait_for(until, timeout_s), "the loopback fal waited in vain"

    def invoices(self, prompt: str) -> list[Job]:
        """The accepted jobs with that prompt."""
        return [job for job in self.jobs if job.payload.get("prompt") == prompt]

    def seen(self, method: str, ending: str = "") -> list[Request]:
        """Requests of that method whose path ends so."""
        return [r for r in self.requests if r.method == method and r.path.endswith(ending)]

    # -- the server ---------------------------------------------------------------------

    async def before_body(self, method: str, target: str) -> str | None:
        station = station_of(method, target.partition("?")[0])
        fault = self._take(station, target, only=("reset_before_body", "close_before_body"))
        return fault.kind.partition("_")[0] if fault else None

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        try:
            return await self._answer(request)
        finally:
            with self._changed:
                self._changed.notify_all()

    async def _answer(self, request: Request) -> Reply:
        station = station_of(request.method, request.path)
        fault = self._take(station, request.path)
        if station == "submit":
            before = len(self.jobs)
            reply = self._submit(request, fault)
            if self.calls_before_answering and len(self.jobs) > before:
                await asyncio.to_thread(self.finish, self.jobs[-1])
            return reply
        if fault is not None and fault.kind in FAULTS:
            return FAULTS[fault.kind]
        reply = await self._route(station, request)
        return reply._replace(wire=WIRE[fault.kind]) if fault else reply

    async def _route(self, station: str, request: Request) -> Reply:
        if station == "file":
            return self._file(request)
        if station == "token":
            return self._token(request)
        if station == "upload":
            return self._upload(request)
        if station == "jwks":
            return self.caller.jwks(request)
        if not self._authorized(request):
            return said(401, "Authentication is required to access this application")
        job = self._job(request)
        if job is None:
            return answer(404, {"status": "NOT_FOUND"})
        if station == "status":
            return await self._status(job, request)
        return self._cancel(job) if station == "cancel" else self._result(job)

    def _take(self, at: str, where: str, only: tuple[str, ...] | None = None) -> Fault | None:
        early = ("reset_before_body", "close_before_body")
        for fault in self._faults:
            due = fault.kind in only if only else fault.kind not in early
            if fault.at == at and due and fault.times and (fault.endpoint is None or fault.endpoint in where):
                fault.times -= 1
                return fault
        return None

    def _authorized(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Key {KEY}"

    # -- the queue ----------------------------------------------------------------------

    def _submit(self, request: Request, fault: Fault | None) -> Reply:
        if fault and fault.kind in FAULTS and not (fault.taken and FAULTS[fault.kind].status >= 500):
            return FAULTS[fault.kind]
        if not self._authorized(request):
            return said(401, "Authentication is required to access this application")
        endpoint = request.path.strip("/")
        if endpoint not in ENDPOINTS:
            return said(404, f"Application '{endpoint}' not found")
        self._check_headers(request)
        payload = request.json()
        bad = ENDPOINTS[endpoint].faults(payload) or self._unknown_files(payload)
        if bad and self.refuse_at == "submit":
            return refusal(bad, "none")
        if fault and not fault.taken:
            return Reply(wire=WIRE[fault.kind])
        job_fault = self._take("job", endpoint)
        job = Job(
            id=f"{len(self.jobs):08x}-764c-4f1e-9d6b-5ac5f1f0c4de",
            endpoint=endpoint,
            payload=payload,
            headers=request.headers,
            fault=job_fault.kind if job_fault else None,
            bad=bad,
            webhook=request.query.get("fal_webhook", [None])[0],
        )
        self.jobs.append(job)
        if fault and fault.kind in FAULTS:
            return FAULTS[fault.kind]
        reply = answer(200, {"status": "IN_QUEUE", "queue_position": 0, **self._urls(job)})
        return reply._replace(wire=WIRE[fault.kind]) if fault else reply

    def _check_headers(self, request: Request) -> None:
        start = request.headers.get("x-fal-request-timeout", "")
        if not start or float(start) <= 1:
            self.violations.append(f"submit with X-Fal-Request-Timeout {start!r}")
        if request.headers.get("x-app-fal-disable-fallback") != "true":
            self.violations.append("submit that allows another endpoint to serve")
        if request.headers.get("content-type") != "application/json":
            self.violations.append("submit that is not JSON")

    def _unknown_files(self, value: Any) -> list[Bad]:
        """An input that names a file of this CDN which nobody uploaded."""
        if isinstance(value, str) and value.startswith(self.url):
            known = value.removeprefix(self.url) in self.uploads
            return [] if known else [Bad([], "Failed to download the file", "file_download_error")]
        items = list(value.values()) if isinstance(value, dict) else value
        return [bad for item in items for bad in self._unknown_files(item)] if isinstance(items, list) else []

    def _urls(self, job: Job) -> dict[str, str]:
        base = self.foreign_urls or self.url
        url = f"{base}/{'/'.join(job.endpoint.split('/')[:2])}/requests/{job.id}"
        return {
            "request_id": job.id,
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
        }

    def _job(self, request: Request) -> Job | None:
        app, _, rest = request.path.strip("/").partition("/requests/")
        job = next((job for job in self.jobs if job.id == rest.partition("/")[0]), None)
        if job is None or (job.canceled and job.fault == "stuck"):
            return None
        if app.split("/") != job.endpoint.split("/")[:2]:
            self.violations.append(f"{request.path} is not below the app alone")
        return job

    async def _status(self, job: Job, request: Request) -> Reply:
        if job.asking:
            self.violations.append(f"two status calls at a time for {job.id}")
        job.asking += 1
        await asyncio.sleep(0)  # another request may come in here, and is seen
        job.asking -= 1
        job.looks += 1
        run = range(self.queued + 1, job.looks + 1)  # all of the log so far, at each look
        logs = [{"message": f"look {n}", "level": "INFO", "source": "USER", "timestamp": "t"} for n in run]
        asked = request.query.get("logs") in (["true"], ["1"])
        common = {"logs": logs if asked else None, **self._urls(job)}
        over = job.canceled or job.finished
        if job.fault == "stuck" or (job.looks <= self.queued and not over):
            return answer(202, {"status": "IN_QUEUE", "queue_position": 0, **self._urls(job)})
        if not over and (job.fault == "endless" or job.looks <= self.queued + self.running):
            return answer(202, {"status": "IN_PROGRESS", **common})
        job.ended = True
        done = {"status": "COMPLETED", "metrics": {"inference_time": 0.5}, **common}
        return answer(200, done | self._failure(job))

    def _failure(self, job: Job) -> dict[str, str]:
        if job.canceled:
            return {"error": "Request was cancelled", "error_type": "client_cancelled"}
        if job.fault in JobFault:
            return JobFault[job.fault].status
        return {"error": "Invalid status code: 422"} if job.bad else {}

    def _cancel(self, job: Job) -> Reply:
        if job.ended:
            return answer(400, {"status": "ALREADY_COMPLETED"})
        job.canceled = True
        return answer(202, {"status": "CANCELLATION_REQUESTED"})

    def _result(self, job: Job) -> Reply:
        if not job.ended:
            return said(400, "Request is still in progress")
        if job.bad:
            return refusal(job.bad, job.id)
        if job.canceled:
            return said(499, "Request was cancelled", error_type="client_cancelled")
        spoiled = JobFault[job.fault].result if job.fault in JobFault else None
        if isinstance(spoiled, Reply):
            return spoiled
        output = self._output(job)
        job.units *= self.counts_for
        output |= spoiled or {}
        if spoiled or self._failure(job):
            job.units = Decimal(0)  # only what succeeded is billed
        return answer(200, output, x_fal_request_id=job.id, X_Fal_Billable_Units=str(job.units))

    def _output(self, job: Job) -> dict[str, Any]:
        endpoint = ENDPOINTS[job.endpoint]
        followed = job.payload.get(endpoint.follows, "")
        first = followed[0] if isinstance(followed, list) else followed
        source = self.uploads.get(str(first).removeprefix(self.url))
        width, height = asked_size(job.payload, size_of(source.data) if source else None)
        count = job.payload.get("num_images", 1)
        job.units = units_of(job.endpoint, endpoint, job.payload, width, height, count)
        images = [self._image(job, n, width, height) for n in range(count)]
        if endpoint.output == "image":
            return {"image": images[0]}
        return {
            "images": images,
            "seed": job.payload.get("seed", 42),
            "prompt": drawn(job.payload),
            "has_nsfw_concepts": [False] * count,
            "timings": {},
        }

    def _image(self, job: Job, number: int, width: int, height: int) -> dict[str, Any]:
        kind = job.payload.get("output_format", job.payload.get("format", "jpeg"))
        if is_vector(job.endpoint, job.payload):
            kind = "svg+xml"
        content = vector(width, height) if kind == "svg+xml" else picture(width, height, kind)
        content_type = f"image/{kind}"
        if job.fault is not None and job.fault.startswith("image_"):
            content, content_type = broken(job.fault, width, height, "png" if kind == "svg+xml" else kind)
        path = f"/files/out/{job.id}-{number}.{kind}"
        self.files[path] = (content, content_type)
        return {"url": self.url + path, "width": width, "height": height, "content_type": f"image/{kind}"}

    # -- files --------------------------------------------------------------------------

    def _file(self, request: Request) -> Reply:
        if "authorization" in request.headers:
            self.violations.append(f"a credential was sent for {request.path}")
            return said(400, "Only one auth mechanism allowed")
        if request.path not in self.files:
            return said(404, "Not found")
        content, content_type = self.files[request.path]
        return Reply(200, content, content_type=content_type)

    def _token(self, request: Request) -> Reply:
        if not self._authorized(request):
            return said(401, "Authentication is required")
        if request.query.get("storage_type") != ["fal-cdn-v3"]:
            self.violations.append(f"token asked by {request.target}")
        return answer(
            200,
            {
                "token": CDN_TOKEN,
                "token_type": "Bearer",
                "base_url": self.url,
                "expires_at": "2099-01-01T00:00:00+00:00",
            },
        )

    def _upload(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {CDN_TOKEN}":
            return said(401, "Invalid token")
        if request.path == "/files/upload":
            path = self._keep(request)
            return answer(200, {"access_url": self.url + path})
        if request.path == "/files/upload/multipart":
            path = self._keep(request)
            return answer(200, {"access_url": self.url + path, "uploadId": "parts"})
        path, _, part = request.path.partition("/multipart/parts/")
        if part == "complete":
            return answer(200, {})
        upload = self.uploads[path]
        start = (int(part) - 1) * (10 << 20)
        upload.data = (
            upload.data.ljust(start, b"\0")[:start] + request.body + upload.data[start + len(request.body) :]
        )
        return answer(200, {}, ETag=f'"{part}"')

    def _keep(self, request: Request) -> str:
        path = f"/files/in/{len(self.uploads)}"
        kind = request.headers.get("content-type", "")
        self.uploads[path] = Upload(kind, request.body, request.headers)
        self.files[path] = (request.body, kind)
        return path
