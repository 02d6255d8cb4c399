"""A whole life of a gateway with canaries for secrets: none is in a log, a span, an answer, a mail, the database."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal
from support.mailbox import Mailbox, link_of
from support.otlp_collector import OtlpCollector

PASSWORD, NEW_PASSWORD = "canary-violet hammock tundra", "canary-kettle orbit parsnip"
SIGNING, SMTP_PASSWORD, PROMPT = (
    "canary-signing-secret-0123456789abcdef",
    "canary-smtp",
    "canary-prompt red circle",
)
EMAIL = "canary@example.org"
COLLECTOR = "canary-collector-of-traces"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as server:
        yield server


@pytest.mark.slow
def test_no_secret_is_told(
    mailbox: Mailbox, fal: LoopbackFal, collector: OtlpCollector, tmp_path: Path
) -> None:
    told = {**mailbox.env(), **collector.env(), "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector={COLLECTOR}"}
    env = {**fal.env(), **told, "GATEWAY_SECRET": SIGNING, "GATEWAY_LOG_LEVEL": "debug"}
    gateway = GatewayProcess(tmp_path / "data", GATEWAY_AUTH="required", **env).start()
    answers: list[str] = []
    secrets = {PASSWORD, NEW_PASSWORD, SIGNING, COLLECTOR, env["FAL_KEY"]}

    def ask(path: str, credential: str | None = None, method: str = "POST", **body: object):
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        answer = gateway.http.request(method, path, json=body, headers=headers)
        answers.append(answer.text)
        return answer

    try:
        ask("/api/auth/signup", email=EMAIL, password=PASSWORD)
        token = link_of(mailbox.to(EMAIL, "Confirm")).partition("#")[2]
        ask("/api/auth/verify", token=token)
        opened = ask("/api/auth/signin", email=EMAIL, password=PASSWORD).json()
        answers.pop()  # it is shown this once
        session = opened["token"]
        made = ask("/api/keys", session, name="laptop").json()
        answers.pop()
        secrets |= {token.partition(".")[2], session[4:40], made["key"].split("_")[2]}
        change = [
            sys.executable,
            "-m",
            "gateway",
            "account",
            "change",
            opened["accountId"],
            "--tier",
            "premium",
        ]
        subprocess.run(change, env=gateway.env, check=True, timeout=60)
        topup = [sys.executable, "-m", "gateway", "account", "topup", opened["accountId"], "1"]
        subprocess.run(topup, env=gateway.env, check=True, timeout=60)
        job = ask("/api/images/generate", made["key"], model="flux-dev", inputs={"prompt": PROMPT}).json()
        assert job["status"] == "completed"
        # Whatever can go wrong with a credential, a body or a link.
        ask("/api/auth/signin", email=EMAIL, password=NEW_PASSWORD)
        ask("/api/auth/signin", email=PASSWORD, password=PASSWORD)
        ask("/api/auth/signup", email=EMAIL, password=PASSWORD, invite=f"inv.{NEW_PASSWORD}")
        ask("/api/auth/reset/confirm", token=token, password=NEW_PASSWORD)
        ask("/api/account", made["key"][:-1], "GET")
        ask("/api/account", session[:-1], "GET")
        ask("/api/images/generate", made["key"], model=f"flux-dev-{PASSWORD[:0]}", inputs={"prompt": ""})
        gateway.http.post("/api/auth/signin", content=f'{{"password": "{PASSWORD}"')
        # Whatever can be put where it does not belong: into a path, a query, a field that others have.
        gateway.http.get(
            f"/api/jobs/{session}", headers={"traceparent": session, "tracestate": f"a={session}"}
        )
        gateway.http.get(f"/api/{made['key']}?token={session}", headers={"baggage": f"key={made['key']}"})
        gateway.http.post(f"/webhooks/fal/{session}", json={"request_id": made["key"], "status": "OK"})
        ask("/api/auth/password", session, current=PASSWORD, new=NEW_PASSWORD)
        answers.pop()
        ask("/api/keys", made["key"], "GET")
        ask("/api/jobs", made["key"], "GET")
        config = subprocess.run(
            [sys.executable, "-m", "gateway", "config"],
            env=gateway.env,
            capture_output=True,
            check=True,
            timeout=60,
        )
        answers.append(config.stdout.decode())
    finally:
        gateway.close()
    assert len(collector.spans) > 30
    assert {"access", "deliver", "generate_content flux-dev"} <= {span.name for span in collector.spans}
    for line in gateway.log.read_text().split("\n")[:-1]:
        assert {"time", "level", "logger", "event"} <= set(json.loads(line)), line
    places = {"the answers": "\n".join(answers).encode(), "the log": gateway.log.read_bytes()}
    places["the spans"] = b"".join(collector.bodies)
    for path in sorted(gateway.data_dir.rglob("*")):
        if path.is_file() and path.name != "secret":
            places[path.name] = path.read_bytes()
    for mail in mailbox.mails:
        if "Confirm" not in mail["Subject"]:
            places[f"mail {mail['Subject']}"] = mail.as_bytes()
    found = {
        (secret, place) for place, data in places.items() for secret in secrets if secret.encode() in data
    }
    assert found == set()
    # What somebody asked for is theirs: it is in their job, and in no log and no span.
    assert PROMPT.encode() not in places["the log"] + places["the spans"]
    assert PROMPT.encode() in places["gateway.db"] + places.get("gateway.db-wal", b"")
