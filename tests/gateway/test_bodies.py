"""A body is read strictly, and what is wrong with it is named by its place."""

from typing import Any

import pytest
from litestar import Request
from msgspec import Struct

from gateway.bodies import KEY_LENGTH, decode_body, read_idempotency_key, read_wait
from gateway.problems import Problem
from gateway.schemas import GenerateRequest, RawRequest

DEEP = 100_000


class Nested(Struct, forbid_unknown_fields=True, rename="camel"):
    inner: GenerateRequest
    many: list[GenerateRequest] = []


def fault(body: bytes, into: type[Any] = GenerateRequest) -> tuple[str, str, str]:
    with pytest.raises(Problem) as caught:
        decode_body(body, into)
    document = caught.value.document
    assert document.status == 400
    (error,) = document.errors
    return document.code, error.pointer, error.code


def bad_json(body: bytes) -> str:
    with pytest.raises(Problem) as caught:
        decode_body(body, GenerateRequest)
    document = caught.value.document
    assert (document.code, document.status) == ("bad_json", 400)
    return document.detail


def test_a_good_body() -> None:
    body = b'{"model":"m","userId":"u","inputs":{"prompt":"x","seed":null}}'
    read = decode_body(body, GenerateRequest)
    assert (read.model, read.user_id, read.inputs) == ("m", "u", {"prompt": "x", "seed": None})


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b'{"foo":1}', "/foo", "unknown_field"),
        (b'{"a/b~":1}', "/a~1b~0", "unknown_field"),
        (b'{"user_id":"u"}', "/user_id", "unknown_field"),
        (b'{"inputs":[1]}', "/inputs", "wrong_type"),
        (b'{"inputs":"x"}', "/inputs", "wrong_type"),
        (b'{"model":1}', "/model", "wrong_type"),
        (b'{"userId":{}}', "/userId", "wrong_type"),
        (b"[]", "", "wrong_type"),
        (b"null", "", "wrong_type"),
        (b'"x"', "", "wrong_type"),
        (b'{"inputs":{"seed":1e999}}', "/inputs", "wrong_type"),
        (b'{"inputs":{"seed":' + b"9" * 5000 + b"}}", "/inputs", "wrong_type"),
    ],
)
def test_the_pointer_of_a_fault(body, pointer, code) -> None:
    assert fault(body) == ("invalid_body", pointer, code)


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b'{"inputs":"x"}', "/model_id", "missing"),
        (b'{"model_id":"m"}', "/inputs", "missing"),
        (b'{"model_id":"m","inputs":1}', "/inputs", "wrong_type"),
    ],
)
def test_what_is_required(body, pointer, code) -> None:
    assert fault(body, RawRequest) == ("invalid_body", pointer, code)


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b'{"inner":{"model":2}}', "/inner/model", "wrong_type"),
        (b'{"inner":{"foo":2}}', "/inner/foo", "unknown_field"),
        (b'{"inner":{},"many":[{},{"userId":1}]}', "/many/1/userId", "wrong_type"),
    ],
)
def test_what_is_nested(body, pointer, code) -> None:
    assert fault(body, Nested) == ("invalid_body", pointer, code)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{} x", b"{'a':1}", b"\x00", b"\xef\xbb\xbf{}", b'{"inputs":{"a":NaN}}',
        b'{"inputs":{"a":"\xff"}}', b'{"\xff":1}', b'{"inputs":{"a":"\\ud800"}}', b"model=x",
    ],
)  # fmt: skip
def test_what_is_no_json(body) -> None:
    assert bad_json(body)


@pytest.mark.parametrize("part", [b"[", b'{"a":', b'{"inputs":'])
def test_deep_json(part) -> None:
    assert bad_json(b'{"inputs":{"a":' + part * DEEP)


def nested(depth: int, inner: bytes = b"1") -> bytes:
    return b'{"inputs":{"a":' + b"[" * (depth - 2) + inner + b"]" * (depth - 2) + b"}}"


def test_how_deep_json_may_be() -> None:
    assert decode_body(nested(32), GenerateRequest)
    assert "more than 32 deep" in bad_json(nested(33))
    # Neither brackets in a text nor many beside each other are depth.
    assert decode_body(nested(32, rb'"[[[[\"{{{{"'), GenerateRequest)
    assert decode_body(nested(31, b",".join([b"[]"] * 1000)), GenerateRequest)


@pytest.mark.parametrize("body", [b'{"model":"a","model":"b"}', b'{"inputs":{"seed":1,"seed":1}}'])
def test_a_key_twice(body) -> None:
    assert "twice" in bad_json(body)


def test_a_whole_number_of_any_size_is_read_as_it_is() -> None:
    read = decode_body(b'{"inputs":{"seed":' + b"9" * 30 + b"}}", GenerateRequest)
    assert read.inputs["seed"] == int("9" * 30)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], 30),
        (["wait=5"], 5),
        (["wait=0"], 0),
        (["Wait = 5"], 5),
        (['wait="5"'], 5),
        (["wait=9999999"], 600),
        (["wait=-1"], 30),
        (["wait=soon"], 30),
        (["nowait=5"], 30),
        (["respond-async"], 0),
        (["Respond-Async"], 0),
        (["respond-async, wait=7"], 7),
        (["respond-async", "wait=7"], 7),
        (["handling=lenient; wait=3"], 3),
        (["respond-asynchronously"], 30),
        (["return=minimal"], 30),
    ],
)
def test_prefer(headers, seconds) -> None:
    scope: Any = {"type": "http", "headers": [(b"prefer", header.encode()) for header in headers]}
    assert read_wait(Request(scope), 30) == seconds


def keyed(*headers: bytes) -> Request[Any, Any, Any]:
    scope: Any = {"type": "http", "headers": [(b"idempotency-key", header) for header in headers]}
    return Request(scope)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"7f5a1f0e-6a0b", "7f5a1f0e-6a0b"),
        (b'"7f5a1f0e-6a0b"', "7f5a1f0e-6a0b"),
        (b'  "k" ', "k"),
        (b'k"', 'k"'),
        (b'"a\\"b\\\\c"', 'a"b\\c'),
        (b"!~", "!~"),
        (b"k" * KEY_LENGTH, "k" * KEY_LENGTH),
        (b'"' + b"k" * KEY_LENGTH + b'"', "k" * KEY_LENGTH),
    ],
)
def test_an_idempotency_key(header, key) -> None:
    assert read_idempotency_key(keyed(header)) == key


def test_no_idempotency_key() -> None:
    assert read_idempotency_key(keyed()) is None


@pytest.mark.parametrize(
    "headers",
    [
        (b"",),
        (b" ",),
        (b'""',),
        (b'"k',),
        (b'"k" ; a=1',),
        (b'"k"k"',),
        (b'"a\\b"',),
        (b"a b",),
        (b'"a b"',),
        (b"k, k",),
        (b"a\tb",),
        ("schl\u00fcssel".encode(),),
        (b"k" * (KEY_LENGTH + 1),),
        (b"k", b"k"),
    ],
)
def test_what_is_no_idempotency_key(headers) -> None:
    with pytest.raises(Problem) as caught:
        read_idempotency_key(keyed(*headers))
    document = caught.value.document
    assert (document.code, document.status) == ("bad_idempotency_key", 400)
    assert "1 to 255 visible ASCII" in document.detail
