"""What makes jobs run well together: all that is sent but texts and seeds."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.planning import Candidate
from providers.base import MediaRef
from providers.calls import PlannedCall

__all__ = ["group_key"]

OWN = frozenset({"prompt", "negative_prompt", "seed"})
"""What each job of a group has for itself."""

_json = msgspec.json.Encoder(decimal_format="string", order="deterministic")


def group_key(candidates: Sequence[Candidate]) -> str:
    """The same for jobs that one call of a warm pipeline can serve: of one route, LoRA, size, steps, ...

    Args:
        candidates: of a job; the first counts, its media fetched.
    """
    first = candidates[0]
    route = first.route
    own = {row.sent_as for row in first.report if row.name in OWN and row.sent_as is not None}
    what = (
        route.model,
        route.provider,
        route.endpoint,
        route.pipeline,
        [_shape(call, own) for call in first.calls],
    )
    return hashlib.sha256(_json.encode(what)).hexdigest()


def _shape(call: PlannedCall, own: set[str]) -> Any:
    # A text that is not given is not one that is empty: which are given counts.
    payload = {name: None if name in own else _plain(value) for name, value in call.payload.items()}
    return call.num_images, payload


def _plain(value: Any) -> Any:
    """A value with its media by what they hold, whoever brought them."""
    if isinstance(value, MediaRef):
        return {"sha256": value.sha256 or value.url}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
