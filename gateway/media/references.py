"""From a plan's references to our copies of them: each fetched once, before anything is spent."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gateway.media.decode import Kind
from gateway.media.errors import MediaRefused
from gateway.media.library import LIMITS, Library
from gateway.media.rows import MediaRow
from gateway.media.walk import replaced
from gateway.planning import Candidate
from gateway.runs.records import STEP_URL
from gateway.schemas import GenerateRequest
from providers.base import MediaRef
from providers.calls import PlannedCall
from registry.errors import Fault, InvalidInputs, pointer
from registry.schema import Term

__all__ = ["SHOWN_DATA", "bring_references", "keys_of", "shown_inputs"]

SHOWN_DATA = 60
"""Characters of a `data:` URL that are kept, of up to a million."""
Wanted = tuple[str, Kind]


async def bring_references(
    library: Library,
    candidates: tuple[Candidate, ...],
    request: GenerateRequest,
    vocabulary: Mapping[str, Term],
    account_id: str,
) -> tuple[Candidate, ...]:
    """Fetch, check and keep what the candidates' payloads refer to.

    Args:
        library: keeps it.
        candidates: payloads with `MediaRef(url)`.
        request: says which input named what.
        vocabulary: the registry's: how the inputs may be spelled.
        account_id: whose it becomes.

    Returns:
        The candidates, their references complete: key, type, size, sha256.

    Raises:
        InvalidInputs: every reference that cannot be used, by the JSON pointer of its input.
        Problem: `storage_unavailable`.
    """
    wanted = list(
        dict.fromkeys(
            one
            for candidate in candidates
            for one in _references([call.payload for call in candidate.calls])
            # What a step of a run takes from another is not made yet.
            if not one[0].startswith(STEP_URL)
        )
    )
    if not wanted:
        return candidates
    # All of them end before a fault is told: the caller mends everything at once.
    brought = await asyncio.gather(
        *(library.bring(url, kind, account_id) for url, kind in wanted), return_exceptions=True
    )
    for row in brought:
        if isinstance(row, BaseException) and not isinstance(row, MediaRefused):
            raise row  # no fault of the request
    ends = list(zip(wanted, brought, strict=True))
    faults = [
        fault
        for (url, kind), row in ends
        if isinstance(row, MediaRefused)
        for fault in _faults(request, vocabulary, url, kind, str(row))
    ]
    if faults:
        raise InvalidInputs(faults)
    found = {one: _complete(one[0], row) for one, row in ends if isinstance(row, MediaRow)}
    return tuple(
        msgspec.structs.replace(candidate, calls=tuple(_with_media(call, found) for call in candidate.calls))
        for candidate in candidates
    )


def _with_media(call: PlannedCall, found: Mapping[Wanted, MediaRef]) -> PlannedCall:
    return msgspec.structs.replace(
        call, payload=replaced(call.payload, lambda ref, kind: found.get((ref.url, kind), ref))
    )


def keys_of(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """The keys of what the candidates' payloads refer to, each once."""
    found: dict[str, None] = {}

    def note(ref: MediaRef, kind: Kind) -> MediaRef:
        if ref.key is not None:
            found[ref.key] = None
        return ref

    for candidate in candidates:
        replaced([call.payload for call in candidate.calls], note)
    return tuple(found)


def shown_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A request's inputs or options as a job's row keeps them: of a `data:` URL its beginning and
    how long it was. What the job runs with is in its candidates.
    """
    return {name: _shown(value) for name, value in inputs.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        long = value.startswith("data:") and len(value) > SHOWN_DATA
        return f"{value[:SHOWN_DATA]}... ({len(value)} characters)" if long else value
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def _complete(url: str, row: MediaRow) -> MediaRef:
    return MediaRef(
        url=_shown(url),
        key=row.storage_key,
        content_type=row.content_type,
        size=row.byte_size,
        sha256=row.sha256,
        width=row.width,
        height=row.height,
    )


def _references(payload: Any) -> Iterator[Wanted]:
    """Each reference in a payload, and what it must be."""
    found: list[Wanted] = []

    def note(ref: MediaRef, kind: Kind) -> MediaRef:
        found.append((ref.url, kind))
        return ref

    replaced(payload, note)
    yield from found


def _faults(
    request: GenerateRequest, vocabulary: Mapping[str, Term], url: str, kind: Kind, why: str
) -> list[Fault]:
    """The fault of a reference, once for each input that names it."""
    loras = {s for name in ("lora_url", "loras") for s in (name, *vocabulary[name].aliases)}
    places = [
        place
        for part, given in (("inputs", request.inputs), ("options", request.options))
        for spelling, value in given.items()
        if (spelling in loras) == (kind == "lora")
        for place in _places(value, url, (part, spelling))
    ]
    return [
        Fault(pointer=place, code="invalid_reference", message=why, allowed=LIMITS[kind].words)
        # A route's own default is in no input.
        for place in places or [pointer("inputs")]
    ]


def _places(value: Any, url: str, at: tuple[str | int, ...]) -> Iterator[str]:
    """The JSON pointers of a URL in a request."""
    if value == url:
        yield pointer(*at)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _places(item, url, (*at, name))
