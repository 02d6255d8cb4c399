"""`POST /webhooks/fal/{secret}`: fal says that a job has ended."""

from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from gateway.access import PUBLIC
from gateway.answers import may, takes
from gateway.callbacks import take_call
from gateway.core import Core
from gateway.problems import Problem

__all__ = ["FalCall", "fal_calls"]


class FalCall(Struct, kw_only=True, omit_defaults=True):
    """What fal sends. The gateway reads the ids alone, and asks fal for the rest."""

    request_id: str
    gateway_request_id: str | None = None
    """Another than `request_id` after a repeat of fal's own."""
    status: str = ""
    """OK or ERROR."""
    payload: Any = None
    error: str | None = None


@post(
    "/webhooks/fal/{secret:str}",
    status_code=204,
    summary="fal's call that a job has ended",
    tags=["Machines"],
    opt=PUBLIC
    | takes(FalCall, {"request_id": "fal's id of the job", "status": "OK"})
    | may("bad_webhook", "provider_not_configured", "provider_unavailable"),
)
async def fal_calls(
    request: Request[Any, Any, Any], secret: FromPath[str], core: NamedDependency[Core]
) -> None:
    """For fal alone, by the address that a submit gave it; signed in `X-Fal-Webhook-Signature`. The job
    is looked at now. 204 also when there is nothing to do: it has ended, or is gone.
    """
    attempt_id = core.webhooks.attempt_of("fal", secret)
    if attempt_id is None:
        raise Problem("not_found", "Nobody is called here")
    headers = {name.lower(): value for name, value in request.headers.items()}
    await take_call(core, "fal", attempt_id, headers, await request.body())
