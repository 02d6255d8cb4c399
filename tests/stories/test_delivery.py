"""A job's end is told: by a mail whose picture opens, and by a call that any library of Standard Webhooks
verifies.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import httpx
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, until
from support.hook_server import HookServer, status
from support.mailbox import Mailbox, link_of

pytestmark = pytest.mark.slow

PASSWORD = "violet hammock tundra 42"
ASK = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "size": "64x64", "steps": 2}}


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    mailbox: Mailbox, hooks: HookServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    data = tmp_path_factory.mktemp("delivery") / "data"
    env = {"GATEWAY_AUTH": "required", "GATEWAY_FETCH_ALLOW": hooks.allow, **mailbox.env()}
    running = GatewayProcess(data, **env).start()
    yield running
    running.close()


Ask = Callable[..., httpx.Response]


@pytest.fixture
def somebody(gateway: GatewayProcess, mailbox: Mailbox) -> Callable[[str], tuple[str, Ask]]:
    """Signs somebody up; gives their account and a way to call as them."""

    def sign_up(email: str) -> tuple[str, Ask]:
        login = {"email": email, "password": PASSWORD}
        assert gateway.http.post("/api/auth/signup", json=login).status_code == 202
        token = link_of(mailbox.to(email, "Confirm")).partition("#")[2]
        assert gateway.http.post("/api/auth/verify", json={"token": token}).status_code == 200
        session = gateway.http.post("/api/auth/signin", json=login).json()
        headers = {"Authorization": f"Bearer {session['token']}"}

        def ask(path: str, method: str = "POST", **body: object) -> httpx.Response:
            given = {"json": body} if method == "POST" else {}
            return gateway.http.request(method, path, headers=headers, timeout=60, **given)  # type: ignore[arg-type]  # httpx's own words

        return session["accountId"], ask

    return sign_up


def picture_of(mail: EmailMessage) -> bytes:
    """The picture that stands in a mail, where its HTML shows it."""
    html = mail.get_body(("html",))
    assert html is not None
    (cid,) = re.findall(r'src="cid:([^"]+)"', html.get_content())
    (part,) = (part for part in mail.walk() if part["Content-ID"] == f"<{cid}>")
    return bytes(part.get_content())


def test_a_result_comes_by_mail_and_by_webhook(gateway, mailbox, hooks, somebody) -> None:
    email = "ann@example.org"
    account, ask = somebody(email)
    # A normal account's job waits, and its result is mailed without a word.
    waiting = ask("/api/images/generate", **ASK)
    assert (waiting.status_code, waiting.json()["delivery"]) == (202, {"email": True, "webhookId": None})
    unwanted = ask("/api/images/generate", **ASK, delivery={"email": False}).json()
    assert unwanted["delivery"] is None
    assert ask(f"/api/jobs/{unwanted['jobId']}", "DELETE").status_code == 200
    gateway.done("account", "change", account, "--tier", "premium")
    first = mailbox.to(email, "Your picture is ready")
    assert waiting.json()["jobId"] in first.get_body(("plain",)).get_content()
    # Premium runs at once; it is mailed when it says so.
    delivery = {"email": True, "webhook": {"url": hooks.url("/ann")}}
    job = ask("/api/images/generate", **ASK, delivery=delivery).json()
    assert job["status"] == "completed"

    def of_this_job() -> EmailMessage | None:
        mails = [mail for mail in mailbox.mails if job["jobId"] in mail.get_body(("plain",)).get_content()]
        return mails[-1] if mails else None

    mail = until("the mail of this job", of_this_job)
    data = picture_of(mail)
    assert Image.open(io.BytesIO(data)).size == (64, 64)
    stored = gateway.data_dir / "store" / "images" / f"{job['images'][0]['id']}.png"
    assert data == stored.read_bytes()
    # The link in it works without a credential.
    (link,) = re.findall(r"https?://\S+/images/\S+", mail.get_body(("plain",)).get_content())
    assert gateway.http.get(link).content == data

    call = hooks.to("/ann")
    webhook_id = job["delivery"]["webhookId"]
    secret = ask(f"/api/webhooks/{webhook_id}/secret", "GET").json()["secret"]
    told = call.verified(secret)
    assert (told["type"], told["data"]["jobId"], told["data"]["cost"]) == ("job.completed", job["jobId"], 0)
    assert gateway.http.get(told["data"]["imageUrl"]).content == data

    def both_sent() -> bool:
        shown = ask(f"/api/deliveries?jobId={job['jobId']}", "GET").json()["deliveries"]
        return {(row["kind"], row["state"]) for row in shown} == {("email", "sent"), ("webhook", "sent")}

    until("both are noted", both_sent)
    # The mail's id and the call's are the deliveries' own.
    ids = {row["id"] for row in ask(f"/api/deliveries?jobId={job['jobId']}", "GET").json()["deliveries"]}
    assert ids == {call.id, mail["Message-ID"].strip("<>").partition("@")[0]}


def test_a_template_tells_too(hooks, somebody) -> None:
    _, ask = somebody("tom@example.org")
    delivery = {"email": False, "webhook": {"url": hooks.url("/tom")}}
    job = ask("/api/templates/billboard", variables={"headline": "Winter Sale"}, delivery=delivery).json()
    assert ask(f"/api/jobs/{job['jobId']}", "DELETE").status_code == 200
    assert json.loads(hooks.to("/tom").body)["data"]["jobId"] == job["jobId"]


def test_from_the_command_line(gateway, hooks) -> None:
    endpoint, secret = gateway.done("webhooks", "create", hooks.url("/op")).split()
    assert gateway.done("webhooks", "secret", endpoint) == secret
    assert endpoint in gateway.done("webhooks", "list")
    gateway.done("webhooks", "test", endpoint)
    assert hooks.to("/op").verified(secret)["type"] == "webhook.test"
    hooks.answers["/op"].append(status(500))
    refused = gateway.command("webhooks", "test", endpoint)
    assert (refused.returncode, "it answered 500" in refused.stderr) == (1, True)
    gateway.done("webhooks", "delete", endpoint)
    assert gateway.command("webhooks", "test", endpoint).returncode == 4


def test_the_outbox_from_the_command_line(gateway, hooks, somebody) -> None:
    _, ask = somebody("bea@example.org")
    job = ask("/api/images/generate", **ASK, delivery={"email": False, "webhook": {"url": hooks.url("/bea")}})
    ask(f"/api/jobs/{job.json()['jobId']}", "DELETE")
    first = hooks.to("/bea")
    until("it is noted", lambda: first.id in gateway.done("outbox", "--state", "sent"))
    rows = json.loads(gateway.done("outbox", "--json"))["deliveries"]
    shown = next(row for row in rows if row["id"] == first.id)
    assert (shown["kind"], shown["type"], shown["jobId"]) == ("webhook", "job.canceled", job.json()["jobId"])
    assert any(row["type"] == "letter.verify" for row in rows)
    gateway.done("outbox", "redeliver", first.id)
    assert hooks.to("/bea", 2).id == first.id
    assert gateway.command("outbox", "redeliver", "msg_none").returncode == 4


def test_what_was_not_told_yet_outlives_the_process(own_gateway, mailbox, hooks) -> None:
    """Both are refused once, the gateway is killed, and the next one tells under the same ids."""
    env = {"GATEWAY_FETCH_ALLOW": hooks.allow, **mailbox.env()}
    gateway = own_gateway(**env).start()
    admin = {"email": "zoe@example.org", "password": PASSWORD}
    account = gateway.done("account", "create", "Zoe", "--tier", "premium", "--postpaid")
    made = gateway.http.post(f"/api/admin/accounts/{account}/login", json=admin)
    assert made.status_code == 204, made.text
    key = {"Authorization": f"Bearer {gateway.done('keys', 'create', account)}"}
    hooks.answers["/zoe"].append(status(500))
    mailbox.refuse = "451 greylisted"
    delivery = {"email": True, "webhook": {"url": hooks.url("/zoe")}}
    job = gateway.generate(ASK | {"delivery": delivery}, **key).json()
    assert job["status"] == "completed"
    tried = "select count(*) from outbox where job_id is not null and tries = 1 and error is not null"
    until("both were tried once", lambda: gateway.query(tried) == [(2,)])
    gateway.kill()
    mailbox.refuse = None
    gateway.start()
    mail = mailbox.to("zoe@example.org", "Your picture is ready")
    second = hooks.to("/zoe", 2)
    assert second.id == hooks.to("/zoe", 1).id
    until(
        "both are noted",
        lambda: (
            gateway.query("select count(*) from outbox where sent_at is not null and tries = 2") == [(2,)]
        ),
    )
    ids = {found for (found,) in gateway.query("select id from outbox where job_id is not null")}
    assert ids == {second.id, mail["Message-ID"].strip("<>").partition("@")[0]}
    assert Image.open(io.BytesIO(picture_of(mail))).size == (64, 64)
    gateway.check_books()
