"""Our signatures are those of Standard Webhooks, as its own library verifies them."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.delivery.signing import WebhookSigner, sign
from gateway.secret import Signer

OLD, NEW = b"o" * 32, b"n" * 32


def now_s() -> int:
    """Seconds UTC; the library refuses what is five minutes old."""
    return int(datetime.now(UTC).timestamp())


def signer(*secrets: bytes) -> WebhookSigner:
    return WebhookSigner(Signer(secrets, "webhook-endpoint"))


def test_the_specifications_own_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.text("abc0123", min_size=1, max_size=20))
def test_the_library_verifies_whatever_is_said(text, endpoint) -> None:
    ours = signer(NEW)
    body = text.encode()
    headers = ours.headers(endpoint, "msg_1", now_s(), body)
    Webhook(ours.secret(endpoint)).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(ours.secret(endpoint)).verify(body + b" ", headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(ours.secret(endpoint)).verify(body, headers | {"webhook-id": "msg_2"}, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(ours.secret(f"{endpoint}x")).verify(body, headers, json_parse=False)


def test_while_our_secret_is_changed_both_verify() -> None:
    before, during, after = signer(OLD), signer(NEW, OLD), signer(NEW)
    headers = during.headers("whk_1", "msg_1", now_s(), b"{}")
    assert headers["webhook-signature"].count("v1,") == 2
    for known in (before, during, after):
        Webhook(known.secret("whk_1")).verify(b"{}", headers)
    # Once the old one is gone, who kept it is told nothing that they would believe.
    with pytest.raises(WebhookVerificationError):
        Webhook(before.secret("whk_1")).verify(b"{}", after.headers("whk_1", "msg_1", now_s(), b"{}"))


def test_a_secret_is_one_of_the_specifications() -> None:
    secret = signer(NEW).secret("whk_1")
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
