"""Without accounts: loopback names, our own pages and JSON alone, before a body is read."""

import asyncio
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send

from gateway.ambient import Ambient
from gateway.guard import Body, Guard
from gateway.problems import Problem

OURS = "127.0.0.1:8000"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"SAMEORIGIN")]}
    )
    await send({"type": "http.response.body", "body": b"let in", "more_body": False})


async def ask(
    method: str = "GET",
    host: str | None = OURS,
    *more: tuple[str, str],
    guard: Guard | None = None,
    scheme: str = "http",
    path: str = "/api/models",
) -> tuple[int, dict[str, str], bytes]:
    pairs = [("host", host)] if host is not None else []
    headers = [(name.encode(), value.encode("latin-1")) for name, value in (*pairs, *more)]
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("a body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "scheme": scheme,
        "query_string": b"", "root_path": "", "headers": headers, "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 5), "http_version": "1.1",
    }  # fmt: skip
    await (guard or Guard(app, ("Gate.Example.org",), Ambient()))(scope, receive, send)
    given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], given, b"".join(m.get("body", b"") for m in sent[1:])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", OURS, "localhost", "LOCALHOST:8000", "[::1]", "[::1]:8000", "gate.example.org",
     "GATE.example.org:443"],
)  # fmt: skip
async def test_hosts_that_are_ours(host) -> None:
    assert (await ask(host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [None, "", ":8000", "evil.test", "127.0.0.1.evil.test", "evil.test:8000", "localhost.evil.test",
     "localhost.", "127.0.0.1.", "me@127.0.0.1", "127.0.0.1@evil.test", "127.0.0.1/evil", "127.0.0.1#x",
     "127.0.0.1?x", "127.0.0.1:80:80", "127.0.0.1:x", "[::1", "::1", "[::1].evil.test", "127.0.0.1, evil.test",
     "127.1", "0.0.0.0", "127.0.0.2", " 127.0.0.1", "127.0.0.1\x00", "2130706433", "xn--nxa"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_hosts_that_are_not(host, method) -> None:
    status, _, body = await ask(method, host, ("content-type", "application/json"))
    assert (status, b"foreign_host" in body) == (403, True)


async def test_two_hosts_are_none() -> None:
    assert (await ask("GET", OURS, ("host", "evil.test")))[0] == 403
    assert (await ask("GET", "evil.test", ("host", OURS)))[0] == 403


@pytest.mark.parametrize("origin", [f"http://{OURS}", f"HTTP://{OURS.upper()}"])
async def test_our_own_page(origin) -> None:
    assert (await ask("POST", OURS, ("origin", origin), ("content-type", "application/json")))[0] == 200


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.test", "http://127.0.0.1:3000", "http://127.0.0.1", f"https://{OURS}",
     f"ws://{OURS}", OURS, f"http://{OURS}.evil.test", f"http://me@{OURS}", "http://localhost:8000",
     f"http://{OURS}/", "file://", "chrome-extension://127.0.0.1:8000"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_foreign_pages(origin, method) -> None:
    status, _, body = await ask(method, OURS, ("origin", origin), ("content-type", "application/json"))
    assert (status, b"foreign_origin" in body) == (403, True)


async def test_behind_a_proxy_the_public_origin_is_ours() -> None:
    guard = Guard(app, ("gate.org",), Ambient(), "https://Gate.org/images")
    ours, other = ("origin", "https://gate.org"), ("origin", "https://gate.org.evil.test")
    assert (await ask("GET", "gate.org", ours, guard=guard))[0] == 200
    assert (await ask("GET", "gate.org", other, guard=guard))[0] == 403


@pytest.mark.parametrize(
    "given", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_json_bodies(method, given) -> None:
    assert (await ask(method, OURS, ("content-type", given)))[0] == 200


@pytest.mark.parametrize(
    "given",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "text/plain; x=application/json", "application/jsonx", "text/html"],
)  # fmt: skip
async def test_other_bodies(given) -> None:
    more = [("content-type", given)] if given is not None else []
    status, _, body = await ask("POST", OURS, *more)
    assert (status, b"unsupported_media_type" in body) == (415, True)


UPLOADS = ["application/octet-stream", "image/png", "image/jpeg", "IMAGE/WEBP; x=y"]


@pytest.mark.parametrize("given", UPLOADS)
@pytest.mark.parametrize("path", ["/api/uploads", "/api/uploads/"])
async def test_an_upload_may_be_what_it_is(given, path) -> None:
    assert (await ask("POST", OURS, ("content-type", given), path=path))[0] == 200


@pytest.mark.parametrize("given", UPLOADS)
@pytest.mark.parametrize("path", ["/api/images/generate", "/api/uploads/x", "/API/uploads", "//api/uploads"])
async def test_and_nothing_else_may(given, path) -> None:
    assert (await ask("POST", OURS, ("content-type", given), path=path))[0] == 415


@pytest.mark.parametrize(
    "given",
    [
        None,
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "image/svg+xml",
    ],
)
async def test_an_upload_that_a_form_could_send(given) -> None:
    more = [("content-type", given)] if given is not None else []
    assert (await ask("POST", OURS, *more, path="/api/uploads"))[0] == 415


async def test_a_foreign_page_uploads_nothing() -> None:
    origin = ("origin", "https://evil.test")
    status, _, body = await ask("POST", OURS, origin, ("content-type", "image/png"), path="/api/uploads")
    assert (status, b"foreign_origin" in body) == (403, True)


@pytest.mark.parametrize("host", [OURS, "evil.test"])
async def test_every_answer_has_its_headers(host) -> None:
    _, headers, _ = await ask(host=host)
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


async def test_an_answer_may_have_a_policy_of_its_own() -> None:
    assert (await ask())[1]["x-frame-options"] == "SAMEORIGIN"
    assert (await ask(host="evil.test"))[1]["x-frame-options"] == "DENY"


async def test_a_refusal_carries_its_request_id() -> None:
    _, headers, body = await ask(host="evil.test")
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"].encode() in body


async def test_over_https_a_browser_is_told_to_stay_there() -> None:
    guard = Guard(app, None, Ambient(), "https://gate.example.org", open_to_all=False)
    assert (await ask(guard=guard, host="x"))[1]["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in (await ask())[1]


async def test_where_keys_are_required_a_name_counts_and_an_origin_does_not() -> None:
    guard = Guard(app, ("gate.example.org",), Ambient(), open_to_all=False)
    origin = ("origin", "https://evil.test")
    assert (await ask("GET", "gate.example.org", origin, guard=guard))[0] == 200
    status, _, body = await ask("GET", "evil.test", guard=guard)
    assert (status, b"foreign_host" in body) == (403, True)


async def test_a_body_that_pauses_is_given_up_and_one_that_is_slow_is_not() -> None:
    pauses = iter((0.0, 0.02, 0.02, None))

    async def receive() -> Any:
        pause = next(pauses)
        if pause is None:
            await asyncio.Event().wait()
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": b"x", "more_body": True}

    slow = Guard(app, None, Ambient(), body_idle_s=0.2).patient(receive, Body({"headers": []}))
    for _ in range(3):
        assert (await slow())["body"] == b"x"
    with pytest.raises(Problem) as caught:
        await slow()
    assert caught.value.document.code == "slow_request"


async def test_a_client_may_wait_for_its_answer_as_long_as_it_likes() -> None:
    gone = asyncio.Event()
    messages = iter(({"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}))

    async def receive() -> Any:
        message = next(messages)
        if message["type"] == "http.disconnect":
            await gone.wait()
        return message

    patient = Guard(app, None, Ambient(), body_idle_s=0.01).patient(receive, Body({"headers": []}))
    await patient()
    waiting = asyncio.create_task(patient())
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    gone.set()
    assert (await waiting)["type"] == "http.disconnect"


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_pass(kind) -> None:
    seen = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    scope: Any = {"type": kind}
    await Guard(inner, (), Ambient())(scope, None, None)  # type: ignore[arg-type]  # never called
    assert seen == [kind]
