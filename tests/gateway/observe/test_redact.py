"""No secret gets into a line, and no line loses what is none."""

import pytest

from gateway.accounts.keys import new_key, new_operator_key
from gateway.accounts.sessions import new_session
from gateway.ambient import Ambient
from gateway.observe.redact import Redactor, secrets_of

AMBIENT = Ambient()
KEY = new_key(AMBIENT.secret)
FAL = "0f0d1c2b-aaaa-bbbb-cccc-000000000001:5c4f0d1c2b3a49586776859403a2b1c0"

SAID = [
    (f"Authorization: Bearer {KEY.text}", KEY.text.split("_")[2]),
    (f"the key {KEY.text} was sent", KEY.text.split("_")[2]),
    (f"operator {new_operator_key(AMBIENT.secret)[:40]}", None),
    (f"Authorization: Key {FAL}", FAL.split(":")[1]),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
    ("Cookie: igw_session=igs_abcdefghijklmnopqrstuvwxyz0123456789; other=1", "abcdefghij"),
    ("cookie igw_session=opaque-value-of-a-session; x", "opaque-value"),
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw was made", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("OPENAI says sk-proj-abcdefghijklmnop1234567890", "abcdefghijklmnop1234567890"),
    ("AKIAIOSFODNN7EXAMPLE is denied", "IOSFODNN7EXAMPLE"),
    ("hf_abcdefghijklmnopqrstuvwxyz is wrong", "abcdefghijklmnopqrstuvwxyz"),
    ("modal ak-abcdefghijklmnopqrstuv as-zyxwvutsrqponmlkjihgf", "zyxwvutsrqponmlkjihgf"),
    ("postgresql://gateway:hunter22@db:5432/g is away", "hunter22"),
    ("GET /images/img_1?expires=1&signature=c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ("PUT https://b.s3.amazonaws.com/k?X-Amz-Signature=deadbeef&X-Amz-Date=1", "deadbeef"),
    ("POST /webhooks/fal/att_1.c2VjcmV0LXNpZ25hdHVyZQ 204", "c2VjcmV0LXNpZ25hdHVyZQ"),
    ('{"email": "a@b.c", "password": "violet hammock tundra"}', "hammock"),
    ("token='s3cr3t-of-a-link'", "s3cr3t-of-a-link"),
]


@pytest.mark.parametrize(("line", "secret"), SAID, ids=[str(place) for place in range(len(SAID))])
def test_what_looks_like_a_credential_is_not_said(line: str, secret: str | None) -> None:
    told = Redactor().cleaned(line)
    assert "[redacted]" in told
    assert secret is None or secret not in told


def test_whose_a_key_is_stays() -> None:
    assert Redactor().cleaned(f"the key {KEY.text} was sent") == f"the key igw_{KEY.id}_[redacted] was sent"


@pytest.mark.parametrize(
    "line",
    [
        "job job_01a2212ebad7707cbbcf4542239bb5be is completed: 1 pictures, 30000 micro-dollars",
        'HTTP Request: POST https://queue.fal.run/fal-ai/flux/dev "HTTP/1.1 200 OK"',
        "the books are right (43 ms)",
        "POST /api/auth/password 401",
        "POST /webhooks/fal/{secret} 204",
        "POST /api/webhooks/whk_1/test 200",
        "jobs are handed over when their leases run out: the key is missing",
        "4 of 4 files in the store have no row in the database",
    ],
)
def test_what_is_no_secret_is_said_as_it_is(line: str) -> None:
    assert Redactor().cleaned(line) == line


def test_the_settings_own_secrets_are_not_said_whatever_they_look_like() -> None:
    env = {
        "GATEWAY_SECRET": "correct horse battery staple one, another battery of old",
        "GATEWAY_SMTP_URL": "smtp://user:p%40ssw0rd@mail.example.org:587",
        "FAL_KEY": "plain-looking",
        "GATEWAY_HOST": "not-secret.example.org",
    }
    redactor = Redactor(secrets_of(env))
    line = "another battery of old; p@ssw0rd; p%40ssw0rd; plain-looking; not-secret.example.org"
    assert redactor.cleaned(line) == "[redacted]; [redacted]; [redacted]; [redacted]; not-secret.example.org"


def test_fields_are_judged_by_their_names() -> None:
    event = {"event": "x", "Authorization": "anything", "prompt": "a red circle", "job_id": "job_1", "ms": 2}
    assert Redactor()(None, "info", dict(event)) == {
        "event": "x",
        "Authorization": "[redacted]",
        "prompt": "[left out]",
        "job_id": "job_1",
        "ms": 2,
    }


def test_a_sessions_token_is_not_said() -> None:
    session, _ = new_session(AMBIENT, "acc_1", "127.0.0.0/24", "a browser", 0)
    assert Redactor().cleaned(f"got {session.token}.") == "got igs_[redacted]."
