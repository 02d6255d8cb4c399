"""seeds/003: sign up, confirm by mail, sign in, ask, become premium, ask again, download."""

import io
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, until
from support.mailbox import Mailbox, link_of

pytestmark = pytest.mark.slow

PASSWORD = "violet hammock tundra 42"
OTHER = "kettle orbit parsnip 77"
ASK = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "size": "64x64", "steps": 2}}


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def gateway(mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    data = tmp_path_factory.mktemp("people") / "data"
    running = GatewayProcess(
        data,
        GATEWAY_AUTH="required",
        GATEWAY_TRUSTED_PROXIES="127.0.0.1",
        GATEWAY_BATCH_WINDOW_S="86400",
        **mailbox.env(),
    ).start()
    yield running
    running.close()


@pytest.fixture
def ask(gateway: GatewayProcess, request: pytest.FixtureRequest) -> Callable[..., httpx.Response]:
    """Calls, each story from an address of its own."""
    place = zlib.crc32(request.node.name.encode())
    address = {"X-Forwarded-For": f"198.18.{place % 256}.{place // 256 % 256}"}

    def call(
        path: str, credential: str | None = None, method: str = "POST", **body: object
    ) -> httpx.Response:
        headers = address if credential is None else {**address, "Authorization": f"Bearer {credential}"}
        return gateway.http.request(method, path, json=body, headers=headers)

    return call


def signed_up(ask: Callable[..., httpx.Response], mailbox: Mailbox, email: str) -> None:
    assert ask("/api/auth/signup", email=email, password=PASSWORD).status_code == 202
    token = link_of(mailbox.to(email, "Confirm")).partition("#")[2]
    assert ask("/api/auth/verify", token=token).status_code == 200


def test_from_sign_up_to_a_picture(gateway: GatewayProcess, mailbox: Mailbox, ask) -> None:
    email = "ann@example.org"
    answer = ask("/api/auth/signup", email="Ann@Example.org", password=PASSWORD)
    assert (answer.status_code, answer.json()["status"]) == (202, "check_email")
    # Before the link is followed there is no account.
    assert ask("/api/auth/signin", email=email, password=PASSWORD).status_code == 401
    link = link_of(mailbox.to(email, "Confirm"))
    page, _, token = link.partition("#")
    assert page == f"{gateway.url}/auth/verify"
    assert "Confirm" in gateway.http.get(page).text
    verified = ask("/api/auth/verify", token=token)
    assert verified.status_code == 200, verified.text
    assert mailbox.to(email, "ready")
    session = ask("/api/auth/signin", email=email, password=PASSWORD).json()
    account = gateway.http.get("/api/account", headers={"Authorization": f"Bearer {session['token']}"}).json()
    assert (account["accountId"], account["tier"], account["admin"]) == (
        session["accountId"],
        "normal",
        False,
    )
    assert account["balance"]["available"] == 0

    # A normal account's job waits for its turn.
    waiting = ask("/api/images/generate", session["token"], **ASK)
    assert (waiting.status_code, waiting.json()["status"]) == (202, "scheduled")
    raw = {"model_id": "embedded-mini", "inputs": "a red circle", "parameters": {"size": "64x64"}}
    assert ask("/diffusers/generate", session["token"], **raw).json()["code"] == "premium_required"
    # Premium runs at once, and so does what waited.
    upgrade = [
        sys.executable,
        "-m",
        "gateway",
        "account",
        "change",
        session["accountId"],
        "--tier",
        "premium",
    ]
    subprocess.run([*upgrade, "--days", "30"], env=gateway.env, check=True, timeout=60)
    job = ask("/api/images/generate", session["token"], **ASK).json()
    assert (job["status"], job["cost"]) == ("completed", 0)

    def first_ended() -> bool:
        path = f"/api/jobs/{waiting.json()['jobId']}"
        return bool(ask(path, session["token"], "GET").json()["status"] == "completed")

    until("the job that waited has run", first_ended)
    # The link needs no credential, and nobody can make one.
    link = httpx.URL(job["imageUrl"])
    picture = gateway.http.get(link)
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["content-security-policy"].startswith("sandbox")
    assert Image.open(io.BytesIO(picture.content)).size == (64, 64)
    later = link.copy_set_param("expires", str(int(link.params["expires"]) + 60))
    assert gateway.http.get(later).json()["code"] == "bad_link"
    assert gateway.http.get(link.path).json()["code"] == "authentication_required"


def test_a_job_that_waits_can_be_canceled(mailbox: Mailbox, ask) -> None:
    email = "hal@example.org"
    signed_up(ask, mailbox, email)
    session = ask("/api/auth/signin", email=email, password=PASSWORD).json()["token"]
    job = ask("/api/images/generate", session, **ASK).json()
    canceled = ask(f"/api/jobs/{job['jobId']}", session, "DELETE").json()
    assert (canceled["status"], canceled["cost"]) == ("canceled", 0)


def test_nobody_learns_who_has_an_account(mailbox: Mailbox, ask) -> None:
    signed_up(ask, mailbox, "bob@example.org")
    again = ask("/api/auth/signup", email="bob@example.org", password=PASSWORD)
    new = ask("/api/auth/signup", email="nobody@example.org", password=PASSWORD)
    assert (again.status_code, again.json()) == (new.status_code, new.json())
    assert mailbox.to("bob@example.org", "You have an account already")
    known = ask("/api/auth/signin", email="bob@example.org", password=OTHER)
    unknown = ask("/api/auth/signin", email="no.such@example.org", password=OTHER)
    assert known.status_code == unknown.status_code == 401
    assert known.json()["detail"] == unknown.json()["detail"]
    resets = [ask("/api/auth/reset", email=f"{name}@example.org") for name in ("bob", "no.such")]
    assert resets[0].json() == resets[1].json()
    assert {answer.status_code for answer in resets} == {202}


def test_a_forgotten_password(mailbox: Mailbox, ask) -> None:
    email = "carl@example.org"
    signed_up(ask, mailbox, email)
    session = ask("/api/auth/signin", email=email, password=PASSWORD).json()["token"]
    assert ask("/api/auth/reset", email=email).status_code == 202
    token = link_of(mailbox.to(email, "Set a new password")).partition("#")[2]
    weak = ask("/api/auth/reset/confirm", token=token, password="password1234")
    assert (weak.status_code, weak.json()["code"]) == (422, "weak_password")
    assert ask("/api/auth/reset/confirm", token=token, password=OTHER).status_code == 200
    assert mailbox.to(email, "was changed")
    assert ask("/api/auth/signout", session).json()["code"] == "invalid_session"
    assert ask("/api/auth/signin", email=email, password=PASSWORD).status_code == 401
    assert ask("/api/auth/signin", email=email, password=OTHER).status_code == 200
    used = ask("/api/auth/reset/confirm", token=token, password=PASSWORD)
    assert (used.status_code, used.json()["code"]) == (410, "bad_link")


def test_sign_out_everywhere(mailbox: Mailbox, ask) -> None:
    email = "dora@example.org"
    signed_up(ask, mailbox, email)
    one, two, three = (
        ask("/api/auth/signin", email=email, password=PASSWORD).json()["token"] for _ in range(3)
    )
    assert ask("/api/auth/signout", one).status_code == 204
    assert ask("/api/account", one, "GET").json()["code"] == "invalid_session"
    assert ask("/api/account", two, "GET").status_code == 200
    assert ask("/api/auth/signout", two, everywhere=True).status_code == 204
    assert ask("/api/account", three, "GET").json()["code"] == "invalid_session"


def test_a_new_password_ends_every_other_session(mailbox: Mailbox, ask) -> None:
    email = "emil@example.org"
    signed_up(ask, mailbox, email)
    one, two = (ask("/api/auth/signin", email=email, password=PASSWORD).json()["token"] for _ in range(2))
    assert ask("/api/auth/password", one, current=OTHER, new=OTHER).json()["code"] == "wrong_credentials"
    made = ask("/api/auth/password", one, current=PASSWORD, new=OTHER).json()["token"]
    for ended in (one, two):
        assert ask("/api/account", ended, "GET").status_code == 401
    assert ask("/api/account", made, "GET").status_code == 200


def test_keys_of_ones_own(mailbox: Mailbox, ask) -> None:
    email = "fay@example.org"
    signed_up(ask, mailbox, email)
    session = ask("/api/auth/signin", email=email, password=PASSWORD).json()["token"]
    made = ask("/api/keys", session, name="laptop").json()
    assert made["scopes"] == ["generate", "read"]
    assert ask("/api/account", made["key"], "GET").status_code == 200
    refused = ask("/api/keys", made["key"], name="another")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    reader = ask("/api/keys", session, name="reader", scopes=["read"]).json()["key"]
    assert ask("/api/images/generate", reader, **ASK).json()["code"] == "missing_scope"
    manager = ask("/api/keys", session, name="manager", scopes=["manage"]).json()["key"]
    assert ask("/api/keys", manager, name="x", scopes=["manage"]).status_code == 201
    assert ask("/api/keys", manager, name="x", scopes=["admin"]).json()["code"] == "missing_scope"
    assert ask(f"/api/keys/{made['keyId']}", session, "DELETE").status_code == 200
    assert ask("/api/account", made["key"], "GET").json()["code"] == "invalid_api_key"


def test_a_browsers_session(gateway: GatewayProcess, mailbox: Mailbox, ask) -> None:
    email = "gil@example.org"
    signed_up(ask, mailbox, email)
    with httpx.Client(base_url=gateway.url, trust_env=False) as browser:
        fixed = {"Cookie": "igw_session=igs_chosen-by-somebody-else"}
        body = {"email": email, "password": PASSWORD, "cookie": True}
        answer = browser.post("/api/auth/signin", json=body, headers=fixed)
        assert answer.json()["token"] is None
        cookie = answer.headers["set-cookie"]
        assert "igw_session=igs_" in cookie
        assert "chosen-by" not in cookie
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert browser.get("/api/account").status_code == 200
        # A page of another origin cannot make it change anything.
        for headers in ({}, {"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site", "Origin": gateway.url}):  # fmt: skip
            refused = browser.post("/api/keys", json={"name": "x"}, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_request"), headers
        for headers in ({"Origin": gateway.url}, {"Sec-Fetch-Site": "same-origin"}):
            assert browser.post("/api/keys", json={"name": "x"}, headers=headers).status_code == 201
        assert browser.post("/api/auth/signout", json={}, headers={"Origin": gateway.url}).status_code == 204
        assert browser.get("/api/account").status_code == 401
