"""Accounts and API keys: made on the command line, and nobody sees or spends what is another's."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

pytestmark = pytest.mark.slow

Caller = Callable[[str], httpx.Client]
SHORT = {"inputs": {"prompt": "x", "size": "64x64", "steps": 2}}
PAID = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}}


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def closed(fal: LoopbackFal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that asks for keys; its books are checked."""
    folder = tmp_path_factory.mktemp("closed") / "data"
    running = GatewayProcess(
        folder, GATEWAY_AUTH="required", GATEWAY_BATCH_WINDOW_S="86400", **fal.env()
    ).start()
    yield running
    running.check_books()
    running.close()


@pytest.fixture
def caller(closed: GatewayProcess) -> Iterator[Caller]:
    """A client that sends a key."""
    made: list[httpx.Client] = []

    def make(key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        made.append(httpx.Client(base_url=closed.url, headers=headers, timeout=60, trust_env=False))
        return made[-1]

    yield make
    for http in made:
        http.close()


def someone(gateway: GatewayProcess, *flags: str) -> tuple[str, str]:
    """A new account and its key, as the README says to make them."""
    account = gateway.done("account", "create", "Ann", "--tier", "premium", *flags)
    scopes = ("--scope", "generate", "--scope", "read", *(("--scope", "admin") if "--admin" in flags else ()))
    return account, gateway.done("keys", "create", account, "--name", "laptop", *scopes)


def test_without_a_key_nothing_is_told(closed: GatewayProcess) -> None:
    answer = closed.generate(SHORT)
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_required")
    assert answer.headers["www-authenticate"] == 'Bearer realm="image-gateway"'
    assert closed.http.get("/api/models").status_code == 401
    assert closed.http.get("/health/ready").status_code == 200
    assert closed.query("select count(*) from job where account_id = 'acc_local_operator'") == [(0,)]


def test_an_account_its_key_an_image_and_what_it_cost(closed: GatewayProcess, caller: Caller) -> None:
    account, key = someone(closed, "--balance", "0.05")
    http = caller(key)
    job = http.post("/api/images/generate", json=PAID).json()
    assert (job["status"], job["cost"]) == ("completed", 0.03)
    picture = Image.open(io.BytesIO(http.get(job["imageUrl"]).content))
    assert picture.size == (128, 128)
    mine = http.get("/api/account").json()
    assert (mine["accountId"], mine["tier"], mine["admin"]) == (account, "premium", False)
    assert mine["balance"]["available"] == 0.02

    short = http.post("/api/images/generate", json=PAID)
    assert (short.status_code, short.json()["code"]) == (402, "insufficient_funds")
    assert "0.03 USD needed, 0.02 USD available" in short.json()["detail"]
    assert closed.done("account", "topup", account, "1.01", "--reference", f"r-{account[-8:]}") == "1.03 USD"
    twice = closed.command("account", "topup", account, "1.01", "--reference", f"r-{account[-8:]}")
    assert (twice.returncode, "reference_used" in twice.stderr) == (2, True)
    assert http.post("/api/images/generate", json=PAID).json()["status"] == "completed"

    assert http.get("/api/admin/accounts").status_code == 403
    (row,) = json.loads(closed.done("keys", "list", account, "--json"))["keys"]
    assert key.startswith(row["startsWith"])
    assert row["lastUsedAt"] is not None


def test_a_budget_and_what_commands_say_of_it(closed: GatewayProcess, tmp_path: Path) -> None:
    account, key = someone(closed, "--postpaid")
    whose = (account, "--key", key[4:16])
    said = closed.done("account", "set-budget", account, "0.07", *whose[1:])
    assert said == "0.07 of 0.07 USD left"
    env = {"GATEWAY_API_KEY": key, "GATEWAY_PUBLIC_URL": closed.url}
    ask = ("generate", "x", "-m", "flux-dev", "--size", "128x128", "-n", "4", "-o", str(tmp_path / "a.png"))
    refused = closed.command(*ask, **env)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "(budget_exhausted)" in refused.stderr
    assert f"`gateway account set-budget ACCOUNT 0.12 --key {key[4:16]}`" in refused.stderr
    estimate = closed.command(*ask, "--estimate", "--allow-downgrade", **env)
    assert estimate.stdout.startswith("0.06 USD with flux-dev")
    made = closed.command(*ask, "--allow-downgrade", **env)
    assert made.returncode == 0, made.stderr
    said = " ".join(made.stderr.split())  # a terminal's width breaks lines
    assert "2 pictures in place of 4: it may cost 0.06 USD in place of 0.12 USD" in said
    assert len(list(tmp_path.glob("*.png"))) == 2
    listed = closed.done("account", "budgets", account)
    assert [word for word in ("0.07", "0.06", "0.01") if word not in listed] == []
    closed.done("account", "remove-budget", *whose)
    assert json.loads(closed.done("account", "budgets", account, "--json")) == {"budgets": []}


def test_a_command_does_not_wait_for_a_normal_accounts_turn(closed: GatewayProcess) -> None:
    account = closed.done("account", "create", "Norm", "--postpaid")
    key = {"GATEWAY_API_KEY": closed.done("keys", "create", account), "GATEWAY_PUBLIC_URL": closed.url}
    ended = closed.command("generate", "x", "--size", "64x64", **key)
    assert (ended.returncode, ended.stdout) == (8, "")  # as one whose end is unknown
    assert "(job_scheduled)" in ended.stderr
    assert "waits for its turn" in ended.stderr
    (job,) = json.loads(closed.done("jobs", "--json", **key))["jobs"]
    assert (job["status"], job["jobId"] in ended.stderr) == ("scheduled", True)


def test_what_is_anothers_is_not_there(closed: GatewayProcess, caller: Caller) -> None:
    ann, bob = (caller(someone(closed, "--postpaid")[1]) for _ in range(2))
    job = ann.post("/api/images/generate", json=SHORT).json()
    job_id, image_id = job["jobId"], job["images"][0]["id"]
    made = ann.post("/api/uploads", content=png(), headers={"Content-Type": "image/png"}).json()
    use = {"model": "image-to-image", "inputs": {"prompt": "x", "image_url": made["url"]}}

    for answer in (
        bob.get(f"/api/jobs/{job_id}"),
        bob.delete(f"/api/jobs/{job_id}"),
        bob.get(f"/images/{image_id}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    # Word for word what an id gets that was never made.
    never = job_id[:-4] + "0000"
    assert bob.get(f"/api/jobs/{never}").json()["detail"] == f"No job has the id {never!r}"
    assert bob.get(f"/api/jobs/{job_id}").json()["detail"] == f"No job has the id {job_id!r}"
    assert bob.get("/api/jobs").json()["jobs"] == []
    refused = bob.post("/api/images/generate", json=use)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/inputs/image_url")

    assert ann.post("/api/images/generate", json=use).json()["status"] == "completed"
    assert len(ann.get("/api/jobs").json()["jobs"]) == 2
    assert ann.get(f"/images/{image_id}").status_code == 200


def test_a_revoked_key_is_refused_from_then_on(closed: GatewayProcess, caller: Caller) -> None:
    account, key = someone(closed, "--postpaid")
    second = closed.done("keys", "create", account, "--expires-in-days", "1")
    assert caller(key).get("/api/jobs").status_code == 200
    revoked = closed.command("keys", "revoke", key[4:16])
    assert f"{key[:16]} was revoked at" in revoked.stderr
    answer = caller(key).get("/api/jobs")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert caller(second).get("/api/jobs").status_code == 200
    listed = closed.done("keys", "list", account)
    assert "revoked" in listed
    assert "until" in listed


def test_an_admin_elsewhere_sees_everybodys_jobs(closed: GatewayProcess, caller: Caller) -> None:
    _, key = someone(closed, "--postpaid")
    job = caller(key).post("/api/images/generate", json=SHORT).json()
    _, admins = someone(closed, "--admin")
    # As from another machine: no data folder of the gateway's, an address and a key.
    away = {"GATEWAY_DATA_DIR": str(closed.data_dir.parent / "none"), "GATEWAY_PUBLIC_URL": closed.url}
    listed = closed.done("jobs", "--json", **away, GATEWAY_API_KEY=admins)
    assert job["jobId"] in [found["jobId"] for found in json.loads(listed)["jobs"]]
    mine = closed.done("jobs", "--json", **away, GATEWAY_API_KEY=key)
    assert [found["jobId"] for found in json.loads(mine)["jobs"]] == [job["jobId"]]
    not_allowed = closed.command("account", "list", **away, GATEWAY_API_KEY=key)
    assert (not_allowed.returncode, "admin_required" in not_allowed.stderr) == (2, True)
    nobody = closed.command("account", "list", **away, GATEWAY_PORT=str(closed.port))
    assert (nobody.returncode, "authentication_required" in nobody.stderr) == (2, True)
    assert "set GATEWAY_API_KEY" in nobody.stderr


def test_accounts_are_made_before_the_gateway_runs(own_gateway: Callable[..., GatewayProcess]) -> None:
    gateway = own_gateway(GATEWAY_AUTH="required")
    account, key = someone(gateway, "--postpaid", "--admin")
    assert not (gateway.data_dir / "operator.json").exists()
    assert not (gateway.data_dir / "engine.json").exists()
    gateway.start()
    answer = gateway.http.get("/api/account", headers={"Authorization": f"Bearer {key}"})
    assert (answer.json()["accountId"], answer.json()["admin"]) == (account, True)
    # A killed gateway leaves its operator's key behind, and it opens nothing.
    left = json.loads((gateway.data_dir / "operator.json").read_text())["key"]
    gateway.kill()
    gateway.start()
    stale = gateway.http.get("/api/account", headers={"Authorization": f"Bearer {left}"})
    assert (stale.status_code, stale.json()["code"]) == (401, "invalid_api_key")
    assert account in gateway.done("account", "list")


def test_in_open_mode_a_key_still_counts(gateway: GatewayProcess) -> None:
    account, key = someone(gateway, "--postpaid")
    for header, status, who in (
        (f"Bearer {key}", 200, account),
        ("Bearer sk-what-a-client-cannot-be-kept-from-sending", 200, "acc_local_operator"),
        (f"Bearer {key[:-1]}", 401, None),
    ):
        answer = gateway.http.get("/api/account", headers={"Authorization": header})
        assert (answer.status_code, answer.json().get("accountId")) == (status, who)


def test_off_loopback_keys_are_required(own_gateway: Callable[..., GatewayProcess]) -> None:
    refused = own_gateway(GATEWAY_HOST="0.0.0.0", GATEWAY_AUTH="open").command("serve")
    assert refused.returncode == 1
    assert "GATEWAY_AUTH=open" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    gateway = own_gateway(GATEWAY_HOST="0.0.0.0").start()
    assert gateway.http.get("/api/account").status_code == 401
    # The command line of this machine goes on as before.
    assert "local operator" in gateway.done("account", "list")


def test_the_first_admin_is_made_on_the_command_line(closed: GatewayProcess) -> None:
    """As somebody does who has a gateway on another machine, or in a container."""
    who = {"email": "root@example.org", "password": "tread softly 17 herons"}
    made = closed.done("admin", "create", who["email"], "--password", who["password"])
    session = closed.http.post("/api/auth/signin", json=who)
    assert session.status_code == 200, session.text
    assert session.json()["accountId"] == made
    headers = {"Authorization": f"Bearer {session.json()['token']}"}
    assert closed.http.get("/api/admin/accounts", headers=headers).status_code == 200
