"""The pictures of a run under way: what its steps made, and what the caller brought."""

from collections.abc import Sequence

from msgspec import Struct

from gateway.jobs.records import ImageRow, JobRow
from gateway.jobs.tools import Tools
from gateway.runs.records import RunRecord, StepRecord
from providers.base import MediaRef

__all__ = ["Picture", "Pictures"]


class Picture(Struct, frozen=True, kw_only=True):
    """A picture in our store."""

    ref: MediaRef
    content_type: str
    width: int
    height: int
    seed: int | None = None


class Pictures:
    """What each step of a run made, a picture for each variant.

    Args:
        record: the run.
        tools: have the store.
    """

    def __init__(self, record: RunRecord, tools: Tools) -> None:
        self._record = record
        self._tools = tools
        self._made: dict[str, list[Picture]] = {}

    def of(self, name: str) -> list[Picture]:
        """What a step made, or the caller's own picture."""
        if name in self._made:
            return self._made[name]
        return [_of_caller(self._record.images[name])]

    def take(self, step: StepRecord, jobs: Sequence[JobRow], sources: Sequence[Picture | None]) -> None:
        """Note what a step's jobs gave; where one of them gave nothing, the picture that it took stays."""
        made: list[Picture] = []
        for one, source in zip(jobs, sources, strict=True):
            kept = [] if source is None else [source]
            made += [_of_job(row) for row in one.images] or kept
        self._made[step.name] = made

    def scenes(self, name: str) -> list[Picture]:
        """What fills the outputs: of the step that is named, or of the last one that was not left out."""
        return self._made.get(name) or next((made for made in reversed(self._made.values()) if made), [])

    async def own(self) -> dict[str, bytes]:
        """The caller's own pictures, by variable."""
        return {name: await self._tools.media.read(ref) for name, ref in self._record.images.items()}

    async def beside(self, variant: int) -> dict[str, bytes]:
        """What each step made for a variant, by the step's name."""
        return {
            name: await self.read(made[min(variant, len(made) - 1)])
            for name, made in self._made.items()
            if made
        }

    async def read(self, picture: Picture) -> bytes:
        """A picture's bytes.

        Raises:
            OutputFetchFailed: it is gone from the store, or the store is away.
        """
        return await self._tools.media.read(picture.ref)


def _of_job(row: ImageRow) -> Picture:
    ref = MediaRef(
        url=row.id,
        key=row.storage_key,
        content_type=row.content_type,
        size=row.byte_size,
        sha256=row.sha256,
        width=row.width,
        height=row.height,
    )
    return Picture(ref=ref, content_type=row.content_type, width=row.width, height=row.height, seed=row.seed)


def _of_caller(ref: MediaRef) -> Picture:
    return Picture(
        ref=ref,
        content_type=ref.content_type or "image/png",
        width=ref.width or 0,
        height=ref.height or 0,
    )
