"""`POST /api/uploads`: a picture or weights as the body, for use as an input of later requests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from msgspec import Struct

from gateway.accounts.principals import Principal
from gateway.answers import may
from gateway.core import Core
from gateway.media.decode import Kind
from gateway.media.errors import MediaRefused, MediaTooLarge
from gateway.media.library import LIMITS
from gateway.problems import Problem
from gateway.schemas import json_response

__all__ = ["KINDS", "UploadView", "upload"]

KINDS: dict[str, Kind] = {
    "image/png": "image",
    "image/jpeg": "image",
    "image/webp": "image",
    "application/octet-stream": "lora",
}
"""What a body may be, by its Content-Type; which picture it is, its bytes say."""


class UploadView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An upload, as it is kept."""

    id: str
    url: str
    """What to write where an input wants a URL."""
    content_type: str
    width: int | None
    """Pixels; null for weights."""
    height: int | None
    size: int
    """Bytes of what is kept: pictures are written anew, without what hid in them."""
    sha256: str


@dataclass
class _UploadOperation(Operation):
    """Litestar cannot know of a body that a handler streams."""

    def __post_init__(self) -> None:
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            required=True, content={kind: OpenAPIMediaType(schema=binary) for kind in KINDS}
        )


@post(
    "/api/uploads",
    status_code=201,
    summary="Upload a picture or a LoRA",
    tags=["Images"],
    request_max_body_size=None,  # the library caps it, by its kind
    operation_class=_UploadOperation,
    opt=may("invalid_upload", "storage_unavailable"),
)
async def upload(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[UploadView]:
    """Keep a picture (image/png, image/jpeg, image/webp) or a LoRA (.safetensors, as
    application/octet-stream). The answer's `url` goes where an input wants a URL.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    kind = KINDS.get(media_type)
    if kind is None:
        raise Problem(
            "unsupported_media_type",
            f"The Content-Type is {media_type or 'nothing'}; send one of {', '.join(KINDS)}",
        )
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 19 else None
    try:
        row = await core.media.upload(_body(request), size, kind, principal.account_id)
    except MediaTooLarge as error:
        raise Problem("body_too_large", f"{error}. Send {LIMITS[kind].words}") from error
    except MediaRefused as error:
        raise Problem("invalid_upload", f"{error}. Send {LIMITS[kind].words}") from error
    view = UploadView(
        id=row.id,
        url=row.id,
        content_type=row.content_type,
        width=row.width,
        height=row.height,
        size=row.byte_size,
        sha256=row.sha256,
    )
    return json_response(view, 201)


async def _body(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body as it comes."""
    try:
        async for chunk in request.stream():
            yield chunk
    except InternalServerException as error:  # Litestar's word for it
        raise Problem("bad_request", "The upload broke off") from error
