"""Templates without a model: their outputs composed over a scene that is drawn by rule.

Free and at once: no job is made and nothing is kept. It takes a processor all the same, so that
requests are counted as those that make jobs are, and few are composed side by side.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from gateway.accounts.principals import Principal
from gateway.media.errors import MediaRefused
from gateway.media.library import LIMITS
from gateway.problems import Problem
from gateway.runs.compose import product_of
from gateway.runs.plan import outputs_of, refused
from gateway.schemas import TemplateRequest
from gateway.template_schemas import PreviewOutputView, PreviewTextView, PreviewView
from gateway.template_views import obstacle
from registry.errors import Fault, InvalidInputs, pointer
from templates.compose import Finished, placeholder_scene
from templates.engine import Run, Template
from templates.formats import CONTENT_TYPES
from templates.present import present
from templates.rows import Output, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from gateway.core import Core

__all__ = ["Previews"]

T = TypeVar("T")

SIDE_BY_SIDE = 2
MOST_WAITING = 16
MOST_EDGE = 960
"""Pixels of a preview among others; of an output alone there is the file itself."""
MOST_SCENE = 2048
"""Pixels of the scene's longer edge; it is soft, and larger outputs lose nothing."""
QUALITY = 80


class _Asked(Struct, frozen=True, kw_only=True):
    """What is to be composed."""

    template: Template
    run: Run
    outputs: tuple[Output, ...]
    pictures: Mapping[str, bytes]
    warnings: tuple[str, ...]


class Previews:
    """Composes previews.

    Args:
        core: has the templates, and the callers' pictures.
    """

    def __init__(self, core: "Core") -> None:
        self._core = core
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)
        self._waiting = 0

    async def file(self, name: str, body: TemplateRequest, caller: Principal, output: str | None) -> Finished:
        """One output's file, as a run would make it over another scene.

        Args:
            name: the template's.
            body: of a run.
            caller: whose pictures may be in it.
            output: which; the first that is wanted, by default.

        Raises:
            Problem: `unknown_template`, `invalid_variables`, `invalid_query`, `no_preview`, `too_busy`,
                `too_many_requests`, `storage_unavailable`.
            InvalidInputs: an output that is not there.
            TemplateError: the overlay does what it must not.
        """
        asked = await self._asked(name, body, caller)
        wanted = next((one for one in asked.outputs if output in (None, one.name)), None)
        if wanted is None:
            known = ", ".join(one.name for one in asked.outputs)
            fault = Fault(
                pointer=pointer("query", "output"),
                code="not_allowed",
                message=f"there is no output {output!r}",
                allowed=known,
            )
            raise Problem(
                "invalid_query", f"/query/output: {fault.message}. Allowed: {known}", errors=[fault]
            )
        (made,) = await self._composed(lambda: _composed(asked, [wanted]))
        return made

    async def shown(self, name: str, body: TemplateRequest, caller: Principal) -> PreviewView:
        """Every output that is wanted, small, with where its words stand.

        Raises:
            Problem, InvalidInputs, TemplateError: as `file`.
        """
        asked = await self._asked(name, body, caller)
        views = await self._composed(lambda: _shown(asked))
        return PreviewView(template=name, outputs=views, warnings=asked.warnings)

    async def _asked(self, name: str, body: TemplateRequest, caller: Principal) -> _Asked:
        core = self._core
        template = core.runs.template(name, body)
        await core.admission.count(caller)
        if not template.row.outputs:
            raise Problem(
                "no_preview",
                f"{name} lays nothing over its pictures: there is nothing to see without a model",
            )
        try:
            run = template.plan(body.variables, {})
            outputs = outputs_of(run, body)
            pictures = await self._pictures(run, caller)
            more, warnings = await self._product(template, pictures)
        except InvalidInputs as error:
            raise refused(error) from error
        return _Asked(
            template=template, run=run, outputs=outputs, pictures={**pictures, **more}, warnings=warnings
        )

    async def _pictures(self, run: Run, caller: Principal) -> dict[str, bytes]:
        """The caller's own pictures, by variable.

        Raises:
            InvalidInputs: each that cannot be used.
        """
        looks = (self._core.media.look(url, caller.account_id) for url in run.images.values())
        found = dict(zip(run.images, await asyncio.gather(*looks, return_exceptions=True), strict=True))
        faults = [
            Fault(
                pointer=pointer("variables", name),
                code="invalid_reference",
                message=str(error),
                allowed=LIMITS["image"].words,
            )
            for name, error in found.items()
            if isinstance(error, MediaRefused)
        ]
        if faults:
            raise InvalidInputs(faults)
        pictures: dict[str, bytes] = {}
        for name, one in found.items():
            if isinstance(one, BaseException):
                raise one
            pictures[name] = one
        return pictures

    async def _product(
        self, template: Template, pictures: Mapping[str, bytes]
    ) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """What stands for the product where a model would have to cut it out, and the word that it does.

        Raises:
            InvalidInputs: no model could.
        """
        row = template.row.product
        if row is None or row.of not in pictures:
            return {}, ()
        why = await asyncio.to_thread(product_of, pictures[row.of])
        if why is None:
            return {}, ()
        step = _cutter(template, row.of)
        if step is None or obstacle(step.use[-1], self._core.catalog, self._core.providers) is not None:
            fault = Fault(
                pointer=pointer("variables", row.of),
                code="no_cutout",
                message=f"{why}, and no model that removes backgrounds is available",
                allowed="a PNG with a transparent background, or a product before a plain one",
            )
            raise InvalidInputs([fault])
        card = await asyncio.to_thread(_card, pictures[row.of])
        return {step.name: card}, (f"a run removes the background of {row.of}, by a model",)

    async def _composed(self, work: Callable[[], T]) -> T:
        async with self._turn():
            try:
                return await asyncio.to_thread(work)
            except InvalidInputs as error:
                raise refused(error) from error

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= MOST_WAITING:
            raise Problem(
                "too_busy",
                "Too many previews are composed at this moment. Send it again in a second",
                headers={"Retry-After": "1"},
                retryable=True,
            )
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1


def _composed(asked: _Asked, outputs: Sequence[Output]) -> list[Finished]:
    run = asked.run
    return present(asked.template, outputs, run.values, run.language, _scene(asked), asked.pictures)


def _shown(asked: _Asked) -> tuple[PreviewOutputView, ...]:
    # A page and a picture are shown alike, and JPEG is read in parts.
    drawn = [msgspec.structs.replace(one, format="jpeg") for one in asked.outputs]
    made = _composed(asked, drawn)
    return tuple(_view(one, output) for one, output in zip(made, asked.outputs, strict=True))


def _view(made: Finished, output: Output) -> PreviewOutputView:
    return PreviewOutputView(
        name=made.name,
        width=made.width,
        height=made.height,
        content_type=CONTENT_TYPES[output.format],
        data_url=f"data:image/webp;base64,{base64.b64encode(_small(made.data)).decode()}",
        texts=msgspec.convert(made.texts, tuple[PreviewTextView, ...], from_attributes=True),
    )


def _small(data: bytes) -> bytes:
    """A picture that a page shows among others, as WebP."""
    from PIL import Image

    with Image.open(BytesIO(data), formats=("JPEG",)) as picture:
        picture.thumbnail((MOST_EDGE, MOST_EDGE))
        target = BytesIO()
        picture.convert("RGB").save(target, "WEBP", quality=QUALITY)
        return target.getvalue()


def _scene(asked: _Asked) -> "Image":
    """What stands for the model's picture: the same one for a template and its first colour."""
    largest = max(asked.template.row.outputs, key=lambda one: one.width * one.height)
    share = min(1.0, MOST_SCENE / max(largest.width, largest.height))
    size = max(1, round(largest.width * share)), max(1, round(largest.height * share))
    colors = [
        asked.run.values[name]
        for name, variable in asked.template.row.variables.items()
        if variable.type == "color"
    ]
    color = next((one for one in colors if one is not None), None)
    # Not of the words: it would change with every letter that somebody types.
    return placeholder_scene(*size, words=asked.template.name, color=color)


def _cutter(template: Template, variable: str) -> Step | None:
    """The step that removes the background where no rule can."""
    steps = template.row.steps
    return next((one for one in steps if one.only_if == "no-cutout" and one.of == variable), None)


def _card(data: bytes) -> bytes:
    """A picture with round corners, in the place of the product that a model would cut out of it."""
    from PIL import Image, ImageDraw

    with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        mask = Image.new("L", picture.size)
        edge = min(picture.size)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, picture.width - 1, picture.height - 1), radius=max(1, edge // 8), fill=255
        )
        card = picture.convert("RGB")
        card.putalpha(mask)
        target = BytesIO()
        card.save(target, "PNG")
        return target.getvalue()
