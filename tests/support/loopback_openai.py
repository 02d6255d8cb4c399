"""A server with OpenAI's Images API on loopback, stricter than the real one.

A member that the API does not have is refused, and so is one of another type; an edit must be a form.
"""

import base64
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from support.loopback_fal_http import HttpServer, Reply, Request, answer
from support.loopback_fal_images import picture, size_of

__all__ = ["LoopbackOpenAi"]

KEY = "sk-loopback"
TYPES: dict[str, type] = {
    "model": str, "prompt": str, "n": int, "size": str, "quality": str, "background": str,
    "output_format": str, "response_format": str, "input_fidelity": str,
}  # fmt: skip
SERVERS_OWN: dict[str, type | tuple[type, ...]] = {
    "negative_prompt": str, "seed": int, "num_inference_steps": int, "guidance_scale": (int, float),
}  # fmt: skip
"""What servers of open models take beside."""
SIZES = ("1024x1024", "1536x1024", "1024x1536", "auto")


class LoopbackOpenAi(HttpServer):
    """See the module.

    Args:
        own: a server of open models: no key, any size, more members.
    """

    def __init__(self, *, own: bool = False) -> None:
        super().__init__()
        self.own = own
        self.asked: list[dict[str, Any]] = []
        """The body of each request that made pictures."""
        self.faults: list[Reply] = []
        """Answers to the next requests, in their place."""
        self.files: dict[str, bytes] = {}

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def respond(self, request: Request) -> Reply:
        if request.method == "GET" and request.path in self.files:
            return Reply(200, self.files[request.path], content_type="image/png")
        if not self.own and request.headers.get("authorization") != f"Bearer {KEY}":
            return refused(401, "Incorrect API key provided", "invalid_api_key")
        if request.method != "POST":
            return refused(405, "Method not allowed", None)
        if request.path == "/v1/images/generations":
            if request.headers.get("content-type", "").partition(";")[0] != "application/json":
                return refused(415, "Send JSON", None)
            body, files = request.json(), {}
        elif request.path == "/v1/images/edits":
            body, files = read_form(request)
        else:
            return refused(404, "Unknown path", "unknown_url")
        return self._make(body, files)

    def _make(self, body: dict[str, Any], files: dict[str, list[bytes]]) -> Reply:
        known = TYPES | (SERVERS_OWN if self.own else {})
        for name, value in body.items():
            if name not in known:
                return refused(400, f"Unknown parameter: '{name}'.", "unknown_parameter")
            if isinstance(value, bool) or not isinstance(value, known[name]):
                return refused(400, f"Invalid type for '{name}'.", "invalid_type")
        for name in files:
            if name not in ("image", "image[]", "mask"):
                return refused(400, f"Unknown parameter: '{name}'.", "unknown_parameter")
        if not body.get("prompt") or body.get("model") == "gone":
            return refused(
                404 if body.get("prompt") else 400, "no such model, or no prompt", "model_not_found"
            )
        if not self.own and body.get("size", "auto") not in SIZES:
            return refused(400, "Invalid value for 'size'.", "invalid_value")
        if self.faults:
            return self.faults.pop(0)
        self.asked.append(
            {**body, **{name: [size_of(data) for data in found] for name, found in files.items()}}
        )
        width, height = map(int, body.get("size", "1024x1024").split("x"))
        kind = body.get("output_format", "png")
        return self._answer(body, picture(width, height, kind), kind)

    def _answer(self, body: dict[str, Any], data: bytes, kind: str) -> Reply:
        items = []
        for _ in range(body.get("n", 1)):
            if body.get("response_format") == "url":
                path = f"/files/{len(self.files)}.png"
                self.files[path] = data
                items.append({"url": self.url + path})
            else:
                items.append({"b64_json": base64.b64encode(data).decode()})
        return answer(200, {"created": 1_795_000_000, "data": items, "output_format": kind})


def refused(status: int, message: str, code: str | None) -> Reply:
    """An error as the API words it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def read_form(request: Request) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """The fields and the files of multipart/form-data; a number is a number again."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    fields: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is not None:
            files.setdefault(name, []).append(content)
        else:
            fields[name] = int(content) if name == "n" else content.decode()
    return fields, files
