"""fal's calls to us: which ones are believed, and how often fal is asked for its keys."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.loopback_fal import LoopbackFal
from support.loopback_fal_client import call, provider_of
from support.loopback_fal_webhooks import USER, SentCall, jwk, signed

from providers.base import CallsBack, Webhook, WebhookRefused
from providers.errors import ProviderUnavailable
from providers.fal.provider import FalProvider
from providers.fal.webhooks import is_signed, read_keys, read_signed

NOW = 1_763_683_200
ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
OURS = frozenset({USER})
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BODY = msgspec.json.encode({"request_id": ID, "status": "OK"})
DAY = 86_400


def sent(body: bytes = BODY, request_id: str = ID, user: str = USER, at: float = NOW) -> SentCall:
    return SentCall(signed(KEY, body, request_id, user, at), body)


def believed(
    made: SentCall, *, now_s: float = NOW, user_ids: frozenset[str] = OURS, key: Ed25519PrivateKey = KEY
) -> Webhook | None:
    """What it says; None when its signature is not the key's."""
    read = read_signed(made.headers, made.body, now_s=now_s, user_ids=user_ids)
    return read.webhook if is_signed(read, [key.public_key()]) else None


# -- pure ------------------------------------------------------------------------------------


def test_a_call_that_openssl_signed() -> None:
    # openssl pkeyutl -sign -rawin, by the key whose seed is 00 01 ... 1f, over fal's four lines.
    signature = (
        "cff89c88e772ed3b5905e3779829267169cebf68a6f3965043f0add6f4c3683b"
        "f5e9582ca7b5c3eb9611389bb48cb8d4e1b7441be0c9b959327eca1b02bbc408"
    )
    headers = {
        "x-fal-webhook-request-id": ID,
        "x-fal-webhook-user-id": "user|1",
        "x-fal-webhook-timestamp": str(NOW),
        "x-fal-webhook-signature": signature,
    }
    read = read_signed(headers, BODY, now_s=NOW, user_ids=frozenset({"user|1"}))
    keys = read_keys(b'{"keys": [{"kty": "OKP", "x": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}')
    assert is_signed(read, keys)
    assert read.webhook == Webhook(request_ids=(ID,), ours=True)


def test_a_call_of_just_anybodys_is_not_ours() -> None:
    assert believed(sent(user="somebody"), user_ids=frozenset()) == Webhook(request_ids=(ID,), ours=False)


def test_the_queues_id_comes_first_and_a_repeats_own_too() -> None:
    body = msgspec.json.encode({"request_id": "queue-1", "gateway_request_id": "again-1"})
    found = believed(sent(body, request_id="again-1"))
    assert found is not None
    assert found.request_ids == ("queue-1", "again-1")


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'{"request_id": 7}', b"[" * 100_000])
def test_a_body_that_cannot_be_read_leaves_the_signed_header(body: bytes) -> None:
    assert believed(sent(body)) == Webhook(request_ids=(ID,), ours=True)


def test_each_of_what_is_signed_counts() -> None:
    made = sent()
    assert believed(made) is not None
    assert believed(SentCall(made.headers, BODY + b" ")) is None
    for name, value in (("request-id", "another"), ("user-id", "user2"), ("timestamp", str(NOW + 1))):
        changed = made.headers | {f"x-fal-webhook-{name}": value}
        assert believed(SentCall(changed, BODY), user_ids=OURS | {"user2"}) is None, name
    assert believed(made, key=Ed25519PrivateKey.generate()) is None


@pytest.mark.parametrize("off_s", [-300, 300])
def test_five_minutes_are_in_time(off_s: int) -> None:
    assert believed(sent(), now_s=NOW + off_s) is not None


REFUSED = {
    "old": (sent(at=NOW - 301), "five minutes"),
    "of the future": (sent(at=NOW + 301), "five minutes"),
    "another account's": (sent(user="somebody"), "FAL_USER_ID"),
    "without an id": (sent(b"{}", request_id="/../a"), "names no request"),
}


@pytest.mark.parametrize(("made", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_whoever_signed_it(made: SentCall, why: str) -> None:
    with pytest.raises(WebhookRefused, match=why):
        believed(made)


STRANGE = {
    "request-id": (None, "", "a b", "a\nb", "ü", "a" * 201),
    "user-id": (None, "", "a b", "a\nb", "ü", "a" * 201),
    "timestamp": (None, "", "-1", "1e9", "٣", "1" * 13, f"{NOW}\n"),
    "signature": (None, "", "zz" * 64, "a" * 127, "a" * 130, " " + "a" * 127),
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in STRANGE.items() for v in values])
def test_a_header_that_is_missing_or_strange(name: str, value: str | None) -> None:
    headers = dict(sent().headers)
    headers.pop(f"x-fal-webhook-{name}")
    if value is not None:
        headers[f"x-fal-webhook-{name}"] = value
    with pytest.raises(WebhookRefused, match=f"its header x-fal-webhook-{name} "):
        read_signed(headers, BODY, now_s=NOW, user_ids=frozenset())


def test_keys_of_another_kind_are_passed_over() -> None:
    x = jwk(KEY)["x"]
    others: list[object] = [
        7, {}, {"x": 7}, {"x": "AAAA"}, {"x": "ü"}, {"x": "A"},
        {"kty": "RSA", "x": x}, {"kty": "OKP", "crv": "X25519", "x": x},
    ]  # fmt: skip
    keys = read_keys(msgspec.json.encode({"keys": [*others, {"x": x}, {"x": x + "="}]}))
    assert [key.public_bytes_raw() for key in keys] == [KEY.public_key().public_bytes_raw()] * 2
    with pytest.raises(ValueError, match="no Ed25519 key"):
        read_keys(msgspec.json.encode({"keys": others}))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"keys": null}', b'{"keys": {}}'])
def test_what_is_no_document_of_keys(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_keys(content)


# -- with fal's keys --------------------------------------------------------------------------


@pytest.fixture
async def ours(fal: LoopbackFal) -> AsyncIterator[FalProvider]:
    """A provider that knows its own user id."""
    found = provider_of(fal, FAL_USER_ID=f" other , {USER} ")
    yield found
    await found.aclose()


def asked(fal: LoopbackFal) -> int:
    return len(fal.seen("GET", "/jwks.json"))


async def read(provider: FalProvider, fal: LoopbackFal, *, at: float = NOW) -> Webhook:
    made = fal.caller.call(ID, at=at)
    return await provider.read_webhook(made.headers, made.body, at)


async def test_the_keys_are_asked_for_once_a_day(fal: LoopbackFal, ours: FalProvider) -> None:
    assert isinstance(ours, CallsBack)
    for at in (NOW, NOW + 1, NOW + DAY - 1):
        assert (await read(ours, fal, at=at)).ours
    assert asked(fal) == 1
    await read(ours, fal, at=NOW + DAY)
    assert asked(fal) == 2


async def test_without_a_user_id_a_call_is_read_and_is_not_ours(
    fal: LoopbackFal, provider: FalProvider
) -> None:
    assert not (await read(provider, fal)).ours


async def test_a_new_key_is_found(fal: LoopbackFal, ours: FalProvider) -> None:
    await read(ours, fal)
    old = fal.caller.call(ID, at=NOW + 61)
    fal.caller.rotate()
    assert (await read(ours, fal, at=NOW + 61)).ours
    assert (await ours.read_webhook(old.headers, old.body, NOW + 61)).ours
    assert asked(fal) == 2


async def test_a_flood_of_bad_signatures_does_not_reach_fal(fal: LoopbackFal, ours: FalProvider) -> None:
    await read(ours, fal)
    made = fal.caller.call(ID, at=NOW + 61)
    for late in (61, 62, 100, 120):
        with pytest.raises(WebhookRefused, match="signature"):
            await ours.read_webhook(made.headers, made.body + b" ", NOW + late)
    assert asked(fal) == 2
    with pytest.raises(WebhookRefused):
        await ours.read_webhook(made.headers, made.body + b" ", NOW + 121)
    assert asked(fal) == 3


async def test_old_keys_do_while_fal_is_away(fal: LoopbackFal, ours: FalProvider) -> None:
    await read(ours, fal)
    fal.go_away()
    assert (await read(ours, fal, at=NOW + 2 * DAY)).ours
    fal.come_back()
    assert asked(fal) == 1
    await read(ours, fal, at=NOW + 2 * DAY + 61)
    assert asked(fal) == 2


@pytest.mark.parametrize("fault", ["500", "404", "html", "empty_object", "redirect", "lost"])
async def test_without_keys_a_call_is_worth_repeating(
    fal: LoopbackFal, ours: FalProvider, fault: str
) -> None:
    fal.fail("jwks", fault)
    for _ in range(3):
        with pytest.raises(ProviderUnavailable, match="keys"):
            await read(ours, fal)
    assert asked(fal) == 1
    assert (await read(ours, fal, at=NOW + 60)).ours


async def test_a_call_that_is_refused_anyway_asks_for_no_keys(fal: LoopbackFal, ours: FalProvider) -> None:
    made = fal.caller.call(ID, user="somebody", at=NOW)
    with pytest.raises(WebhookRefused):
        await ours.read_webhook(made.headers, made.body, NOW)
    assert asked(fal) == 0


# -- the submit --------------------------------------------------------------------------------


async def test_a_submit_names_what_to_call(fal: LoopbackFal, provider: FalProvider) -> None:
    url = "https://images.example.org/a/webhooks/fal/att_1.x-_Y?b=c&d=é"
    await provider.submit(msgspec.structs.replace(call("one"), webhook=url))
    await provider.submit(call("two"))
    assert [job.webhook for job in fal.jobs] == [url, None]
    assert [job.payload["prompt"] for job in fal.jobs] == ["one", "two"]
    assert fal.requests[-1].query == {}
