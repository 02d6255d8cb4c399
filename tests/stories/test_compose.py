"""deploy/compose.yaml's profile `scale` runs: two gateways, a worker, an engine, PostgreSQL, S3, SMTP and nginx,
each in a network of its own; and whichever of them is killed, nothing is lost and nothing is paid for twice.
"""

import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import httpx
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families
from support.composed import Containers, reason_not_to
from support.gateway_process import until
from support.loopback_fal import LoopbackFal
from support.sse import read_events

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WHY_NOT = reason_not_to()
EMAIL, PASSWORD = "ann@example.org", "violet hammock tundra 42"
OURS = ("front-1", "front-2", "worker", "engine")
KILLED = (*OURS, "postgres", "s3", "smtp", "proxy")
OPEN = ("scheduled", "queued", "running", "storing", "unknown")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def fal(containers: Containers, authority: trustme.CA) -> Iterator[LoopbackFal]:
    server = LoopbackFal()
    # Where the containers reach this machine.
    server.host = containers.outside
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(containers.outside).configure_cert(server.tls)
    with server:
        yield server


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    if WHY_NOT is not None:
        pytest.skip(WHY_NOT)
    with Containers() as made:
        yield made


@pytest.fixture(scope="module")
def stack(containers: Containers, fal: LoopbackFal, authority: trustme.CA) -> Containers:
    """All of them, healthy."""
    # An operator's .env; this test calls by address, and finds fal on this machine.
    network = containers.outside.rpartition(".")[0]
    trusted = containers.folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    more = {
        **fal.env(),
        "FAL_WEBHOOKS": "off",
        "GATEWAY_FETCH_ALLOW": fal.url.removeprefix("https://"),
        "SSL_CERT_FILE": str(trusted),
        "GATEWAY_ALLOWED_HOSTS": ",".join(f"{network}.{number}" for number in range(2, 40)),
    }
    containers.up("scale", more)
    return containers


def door(stack: Containers, container: str = "proxy") -> str:
    return f"http://{stack.address(container)}:{8080 if container == 'proxy' else 8000}"


@pytest.fixture(scope="module")
def ann(stack: Containers) -> dict[str, str]:
    """The headers of the first admin, made as deploy/README.md says."""
    made = stack.run("front-1", "gateway", "admin", "create", EMAIL, "--password", PASSWORD)
    assert made.returncode == 0, made.stderr
    login = {"email": EMAIL, "password": PASSWORD}
    signed_in = httpx.post(f"{door(stack)}/api/auth/signin", json=login, trust_env=False)
    assert signed_in.status_code == 200, signed_in.text
    session = signed_in.json()
    headers = {"Authorization": f"Bearer {session['token']}"}
    paid = httpx.post(
        f"{door(stack)}/api/admin/topup",
        json={"accountId": session["accountId"], "amount": "100", "reference": "r1"},
        headers=headers,
        trust_env=False,
    )
    assert paid.status_code in (200, 201), paid.text
    return headers


def mails(stack: Containers) -> list[EmailMessage]:
    found = []
    for path in sorted((stack.folder / "mails").glob("*.eml")):
        mail = message_from_bytes(path.read_bytes(), policy=default)
        assert isinstance(mail, EmailMessage)
        found.append(mail)
    return found


def figures(stack: Containers, container: str) -> dict[str, dict[tuple[str, ...], float]]:
    """What `/metrics` of a container tells, by name and by the values of the labels."""
    token = {"Authorization": f"Bearer {stack.env['GATEWAY_METRICS_TOKEN']}"}
    answer = httpx.get(f"{door(stack, container)}/metrics", headers=token, trust_env=False)
    assert answer.status_code == 200, answer.text
    told: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            told.setdefault(sample.name, {})[tuple(sorted(sample.labels.values()))] = sample.value
    return told


def test_a_job_goes_through_all_of_them(stack: Containers, fal: LoopbackFal, ann: dict[str, str]) -> None:
    fal.queued = 1_000_000
    body = {
        "model": "flux-dev",
        "inputs": {"prompt": "a fox in the snow", "size": "128x128"},
        "delivery": {"email": True},
    }
    headers = {**ann, "Prefer": "respond-async"}
    one, two = (
        httpx.Client(base_url=door(stack, f"front-{n}"), headers=headers, timeout=60, trust_env=False)
        for n in (1, 2)
    )
    with one, two:
        let_in = one.post("/api/images/generate", json=body)
        assert let_in.status_code == 202, let_in.text
        job_id = let_in.json()["jobId"]
        with two.stream("GET", f"/api/jobs/{job_id}/events") as stream:
            told = read_events(stream.iter_lines())
            assert next(told).name == "status"
            fal.wait(lambda: len(fal.jobs) == 1)
            fal.finish(fal.jobs[0])
            rest = list(told)
        assert (rest[-1].name, rest[-1].data["status"]) == ("done", "completed")
        job = two.get(f"/api/jobs/{job_id}").json()
        # The picture lies in the bucket, and any gateway serves it; its link leads to the proxy.
        path = httpx.URL(job["imageUrl"]).raw_path.decode()
        pictures = {
            httpx.get(f"{door(stack, place)}{path}", trust_env=False).content
            for place in ("front-1", "front-2", "proxy")
        }
    assert len(pictures) == 1
    assert pictures.pop().startswith(b"\x89PNG")
    # The worker ran it: only it has driven a job.
    assert job_id in stack.log("worker")
    ready = until("the mail", lambda: [m for m in mails(stack) if "ready" in m["Subject"]], 60)
    assert job_id in ready[0].get_body(("plain",)).get_content()
    ended = ("completed", "flux-dev", "fal")

    def counted() -> bool:
        return figures(stack, "front-2").get("gateway_jobs_ended_total", {}).get(tuple(sorted(ended))) == 1

    until("the figures of the database are looked up", counted, 30)
    assert figures(stack, "worker")["gateway_attempts_total"] == {
        tuple(sorted(("fal", "flux-dev", "succeeded"))): 1
    }
    assert httpx.get(f"{door(stack)}/metrics", trust_env=False).status_code == 404


def test_the_engine_of_its_own_container_draws(stack: Containers, ann: dict[str, str]) -> None:
    body = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "size": "64x64", "steps": 2}}
    answer = httpx.post(
        f"{door(stack)}/api/images/generate",
        json=body,
        headers={**ann, "Prefer": "wait=60"},
        timeout=90,
        trust_env=False,
    )
    assert answer.json()["status"] == "completed", answer.text
    memory = figures(stack, "worker")["gateway_engine_memory_bytes"]
    assert memory[("resident",)] > 100_000_000


class Load:
    """Clients who ask for pictures through the proxy, again with the same key when an answer did not come."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url, self.headers = url, headers
        self.numbers = itertools.count()
        self.told: dict[str, str] = {}
        """The ids of jobs, by the prompt that they were asked with."""
        self.stop = threading.Event()
        self.wrong: list[BaseException] = []
        """What no client should see."""
        self.threads = [threading.Thread(target=self._client) for _ in range(3)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def count(self) -> int:
        """Of jobs that were let in so far."""
        assert self.wrong == []
        return len(self.told)

    def _client(self) -> None:
        with httpx.Client(base_url=self.url, timeout=20, trust_env=False) as http:
            while not self.stop.is_set():
                prompt = f"fox-{next(self.numbers)}"
                try:
                    self.told[prompt] = self._ask(http, prompt)
                except BaseException as error:
                    self.wrong.append(error)
                    return

    def _ask(self, http: httpx.Client, prompt: str) -> str:
        body = {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "64x64"}}
        headers = {**self.headers, "Prefer": "respond-async", "Idempotency-Key": prompt}
        ends = time.monotonic() + 120
        while True:
            try:
                answer = http.post("/api/images/generate", json=body, headers=headers)
                if answer.status_code == 202:
                    return str(answer.json()["jobId"])
                assert answer.status_code in (409, 429, 500, 502, 503, 504), answer.text
            except httpx.TransportError:
                answer = None
            assert time.monotonic() < ends, f"{prompt}: {answer and answer.text}"
            self.stop.wait(0.2)


def test_whichever_is_killed_nothing_is_lost(
    stack: Containers, fal: LoopbackFal, ann: dict[str, str]
) -> None:
    fal.queued = 3
    before = {job.id for job in fal.jobs}
    with Load(door(stack), ann) as load:
        for container in KILLED:
            known = load.count()
            until("jobs are let in", lambda n=known: load.count() >= n + 3, 60)
            stack.kill(container)
            until(f"{container} is healthy again", lambda one=container: stack.healthy(one), 60)
            known = load.count()
            until(f"jobs are let in after {container} was killed", lambda n=known: load.count() >= n + 2, 90)
    with httpx.Client(base_url=door(stack), headers=ann, timeout=30, trust_env=False) as http:
        until("every job has ended", lambda: settled(http, fal), 180)
        jobs = {prompt: http.get(f"/api/jobs/{job_id}").json() for prompt, job_id in load.told.items()}
    # What fal took was delivered, once; what it never took, for its submit was cut off, costs nothing.
    for prompt, job in jobs.items():
        taken = len(fal.invoices(prompt))
        assert (job["status"], taken) in (("completed", 1), ("failed", 0)), (prompt, job)
    done = [job for job in jobs.values() if job["status"] == "completed"]
    assert len(fal.jobs) - len(before) == len(done)
    assert len(jobs) - len(done) <= 3 * len(KILLED)
    assert fal.violations == []
    checked = stack.run("front-1", "gateway", "doctor", "--json")
    report = json.loads(checked.stdout)
    assert (checked.returncode, report["findings"]) == (0, []), checked.stderr
    print(
        f"{len(KILLED)} kills, {len(jobs)} jobs, {len(fal.jobs) - len(before)} invoices, {report['files']} files"
    )


def settled(http: httpx.Client, fal: LoopbackFal) -> bool:
    """Whether every job has ended; an operator settles those whose submit got no answer, as fal's invoices say."""
    counts = http.get("/api/admin/jobs/counts").json()
    for job in http.get("/api/admin/jobs", params={"status": "unknown"}).json()["jobs"]:
        asked = next(
            row["sent"]
            for row in http.get(f"/api/admin/jobs/{job['jobId']}").json()["report"]
            if row["name"] == "prompt"
        )
        taken = fal.invoices(asked)
        how, body = ("adopt", {"requestId": taken[0].id}) if taken else ("fail", {})
        http.post(f"/api/admin/jobs/{job['jobId']}/{how}", json=body)
    return not any(counts["byStatus"].get(status) for status in OPEN)
