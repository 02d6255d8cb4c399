"""Pictures in a bucket: kept, served and used from there, and waited for when it is away."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.s3_server import S3Server, make_bucket, objects_of

pytestmark = pytest.mark.slow

Own = Callable[..., GatewayProcess]
NUMBERS = count()
SHORT = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "size": "64x64", "steps": 2}}


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, "PNG")
    return out.getvalue()


def paid(prompt: str) -> dict[str, object]:
    return {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "128x128"}}


class Place:
    """A bucket of a test's own, on a server that can go away."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.bucket = f"results-{next(NUMBERS)}"
        make_bucket(server.env, self.bucket, {})

    @property
    def env(self) -> dict[str, str]:
        return {**self.server.env, "GATEWAY_STORAGE_URL": f"s3://{self.bucket}/igw"}

    def kept(self, folder: str) -> dict[str, tuple[bytes, str]]:
        """Bytes and type of what is in a folder of ours, by name."""
        start = f"igw/{folder}/"
        found = objects_of(self.server.env, self.bucket)
        return {key.removeprefix(start): one[:2] for key, one in found.items() if key.startswith(start)}


@pytest.fixture
def place() -> Iterator[Place]:
    with S3Server() as server:
        yield Place(server)


def captured(gateway: GatewayProcess) -> list[tuple[str, int]]:
    """How the holds ended, and that the ledger sums to zero."""
    assert gateway.query("select coalesce(sum(amount_micros), 0) from ledger_entry") == [(0,)]
    return gateway.query("select status, count(*) from hold group by status")


def start_paid(gateway: GatewayProcess, fal: LoopbackFal, prompt: str, then: Callable[[], None]) -> str:
    """A job at fal that ends after `then`; its id, once its picture was refused by the store."""
    fal.queued = 1_000_000
    job_id = str(gateway.generate(paid(prompt), Prefer="respond-async").json()["jobId"])
    fal.wait(lambda: len(fal.invoices(prompt)) == 1)
    then()
    fal.queued = 1
    line = f"job {job_id}: a picture is not stored yet"
    until("the store refuses the picture", lambda: line in gateway.log.read_text())
    return job_id


def test_a_picture_is_kept_in_the_bucket_and_served_after_a_restart(own_gateway: Own, place: Place) -> None:
    gateway = own_gateway(**place.env).start()
    job = gateway.generate(SHORT).json()
    assert job["status"] == "completed", job
    assert job["imageUrl"].startswith(f"{gateway.url}/images/")
    served = gateway.http.get(job["imageUrl"])
    assert served.headers["content-type"] == "image/png"
    assert place.kept("images") == {f"{job['images'][0]['id']}.png": (served.content, "image/png")}
    assert not (gateway.data_dir / "store").exists()
    assert gateway.stop() == 0
    gateway.start()
    assert gateway.http.get(job["imageUrl"]).content == served.content
    for said in (gateway.http.get(job["imageUrl"]).headers, gateway.job(job["jobId"])):
        assert place.bucket not in str(said)


def test_an_upload_and_an_object_of_another_bucket_are_used(
    own_gateway: Own, place: Place, fal: LoopbackFal
) -> None:
    inputs = f"inputs-{next(NUMBERS)}"
    make_bucket(place.server.env, inputs, {"cats/one.png": png(80, 48)})
    gateway = own_gateway(**place.env, **fal.env(), GATEWAY_INPUT_BUCKETS=inputs).start()
    made = gateway.http.post("/api/uploads", content=png(96, 64), headers={"Content-Type": "image/png"})
    assert made.status_code == 201, made.text
    for url, size in ((made.json()["url"], (96, 64)), (f"s3://{inputs}/cats/one.png", (80, 48))):
        body = {"model": "image-to-image", "inputs": {"prompt": f"from {size}", "image_url": url}}
        answer = gateway.generate(body)
        assert answer.status_code == 200, answer.text
        (invoice,) = fal.invoices(f"from {size}")
        sent = fal.uploads[invoice.payload["image_url"].removeprefix(fal.url)]
        assert Image.open(io.BytesIO(sent.data)).size == size
    assert sorted(name[:4] for name in place.kept("media")) == ["med_", "upl_"]
    assert {kind for _, kind in place.kept("media").values()} == {"image/png"}
    refused = gateway.generate({**body, "inputs": {"prompt": "x", "image_url": f"s3://{place.bucket}/x.png"}})
    assert refused.status_code == 422  # the store's own bucket is no input


def test_a_paid_picture_waits_for_a_store_that_is_away(
    own_gateway: Own, place: Place, fal: LoopbackFal
) -> None:
    gateway = own_gateway(**place.env, **fal.env()).start()
    before = gateway.generate(SHORT).json()
    job_id = start_paid(gateway, fal, "store away", place.server.go_away)
    assert gateway.job(job_id)["status"] == "storing"
    shown = gateway.http.get(before["imageUrl"])
    upload = gateway.http.post("/api/uploads", content=png(8, 8), headers={"Content-Type": "image/png"})
    for answer in (shown, upload):
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    place.server.come_back()
    job = gateway.ended(job_id)
    assert (job["status"], job["costMicros"]) == ("completed", 30_000)
    assert gateway.http.get(job["imageUrl"]).status_code == 200
    assert gateway.http.get(before["imageUrl"]).status_code == 200
    assert len(fal.invoices("store away")) == 1
    assert captured(gateway) == [("captured", 2)]


def test_a_store_that_stays_away_costs_the_caller_nothing(
    own_gateway: Own, place: Place, fal: LoopbackFal
) -> None:
    gateway = own_gateway(**place.env, **fal.env(), GATEWAY_JOB_TIMEOUT_S="12").start()
    job = gateway.ended(start_paid(gateway, fal, "store gone", place.server.go_away))
    assert (job["status"], job["error"]["code"], job["costMicros"]) == ("failed", "output_not_stored", 0)
    assert len(fal.invoices("store gone")) == 1
    assert captured(gateway) == [("released", 1)]
    place.server.come_back()


def test_a_gateway_killed_while_the_store_is_away_ends_the_job_later(
    own_gateway: Own, place: Place, fal: LoopbackFal
) -> None:
    gateway = own_gateway(**place.env, **fal.env()).start()
    job_id = start_paid(gateway, fal, "both away", place.server.go_away)
    gateway.kill()
    ended = serve(gateway.env)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert "connection refused: see that AWS_ENDPOINT_URL is right" in ended.stderr
    place.server.come_back()
    gateway.start()
    assert gateway.ended(job_id)["status"] == "completed"
    assert len(fal.invoices("both away")) == 1
    assert captured(gateway) == [("captured", 1)]


def serve(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "serve"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"GATEWAY_STORAGE_URL": "s3://nobody/igw"}, "NoSuchBucket: make the bucket, or name another"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "see that AWS_ENDPOINT_URL is right"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is set but empty"),
        ({"GATEWAY_STORAGE_URL": "s3://key:hush@bucket/igw"}, "must be like s3://bucket/prefix"),
    ],
)
def test_a_bucket_that_cannot_be_used_stops_the_start(
    own_gateway: Own, place: Place, change: dict[str, str], said: str
) -> None:
    ended = serve({**own_gateway(**place.env).env, **change})
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "GATEWAY_STORAGE_URL" in line
    assert said in line
    assert "hush" not in line
