"""Reading a request's body and headers: strict, and a fault names its place."""

import json
import re
from typing import Any, TypeVar

import msgspec
from litestar import Request

from gateway.problems import Problem
from registry.errors import Fault, pointer

__all__ = ["BODY_METHODS", "KEY_LENGTH", "decode_body", "read_body", "read_idempotency_key", "read_wait"]

T = TypeVar("T")
BODY_METHODS = ("POST", "PUT", "PATCH")
"""Those whose body our routes read."""
AT = re.compile(r" - at `(?:key in )?\$(.*)`$")
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)
ASYNC = re.compile(r"(?:^|[,;\s])respond-async\s*(?:$|[,;])", re.IGNORECASE)
MAX_WAIT_S = 600
KEY_LENGTH = 255
IDEMPOTENCY_KEY = re.compile(rf"[!-~]{{1,{KEY_LENGTH}}}")
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
"""A string of RFC 9651 (and 8941), as draft-ietf-httpapi-idempotency-key-header writes the key."""
MAX_DEPTH = 32
"""Objects and lists within each other; no request of ours has more than six."""
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
BRACKET = re.compile(rb"[\[\]{}]")


async def read_body(request: Request[Any, Any, Any], into: type[T]) -> T:
    """The JSON body as a struct.

    Raises:
        Problem: `bad_json`, or `invalid_body` with the member's JSON pointer.
    """
    return decode_body(await request.body(), into)


def decode_body(body: bytes, into: type[T]) -> T:
    """JSON as a struct.

    Raises:
        Problem: as `read_body`.
    """
    if not body:
        raise Problem("bad_json", "The body is empty; send a JSON object")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body):
        raise Problem("bad_json", f"The body nests objects and lists more than {MAX_DEPTH} deep")
    try:
        decoded = msgspec.json.decode(body, type=into)
        # msgspec keeps the last of two equal keys and says nothing.
        json.loads(body, object_pairs_hook=_once)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), into) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("bad_json", f"The body is not JSON: {error}") from error
    return decoded


def _is_deep(body: bytes) -> bool:
    """Whether brackets outside of strings are nested too deep. What is no JSON may be either."""
    depth = 0
    for bracket in BRACKET.finditer(STRING.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that has a key twice."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Problem("bad_json", f"The body has the key {name!r} twice in one object")
        seen.add(name)


def _invalid(message: str, into: type[Any]) -> Problem:
    found = AT.search(message)
    # "$.inputs[...]" is some member of inputs: which one it does not say.
    place = re.sub(r"\[(\d+)\]", r"/\1", found[1].removesuffix("[...]").replace(".", "/")) if found else ""
    said = AT.sub("", message)
    unknown = re.search(r"unknown field `(.+?)`", said)
    missing = re.search(r"missing required field `(.+?)`", said)
    code = "wrong_type"
    if unknown is not None or missing is not None:
        name = (unknown or missing)[1]  # type: ignore[index]  # one of them is a match
        place, code = place + pointer(name), "unknown_field" if unknown else "missing"
    fields = ", ".join(field.encode_name for field in msgspec.structs.fields(into))
    fault = Fault(pointer=place, code=code, message=said, allowed=f"a JSON object with {fields}")
    return Problem("invalid_body", f"{place or '/'}: {said}. Allowed: {fields}", errors=[fault])


def read_wait(request: Request[Any, Any, Any], default_s: float) -> float:
    """Seconds to wait for a job, by the Prefer header (RFC 7240): `respond-async`, `wait=N`."""
    prefer = ", ".join(request.headers.getall("prefer", []))
    found = WAIT.search(prefer)
    if found is not None:
        return float(min(int(found[1]), MAX_WAIT_S))
    return 0.0 if ASYNC.search(prefer) else default_s


def read_idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The Idempotency-Key header, written bare or as a quoted string, which are the same key; None without.

    Raises:
        Problem: `bad_idempotency_key`.
    """
    given = request.headers.getall("idempotency-key", [])
    if not given:
        return None
    text = given[0].strip()
    if text.startswith('"'):
        quoted = QUOTED.fullmatch(text)
        text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if len(given) > 1 or not IDEMPOTENCY_KEY.fullmatch(text):
        raise Problem(
            "bad_idempotency_key",
            f"Idempotency-Key is one header of 1 to {KEY_LENGTH} visible ASCII characters without blanks, "
            "bare or in double quotes; a UUID is good",
        )
    return text
