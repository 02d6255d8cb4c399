"""From a run's pictures to its finished outputs. CPU-bound: call it in a thread."""

from collections.abc import Mapping
from io import BytesIO

from msgspec import Struct
from PIL import Image

from gateway.runs.pictures import Picture
from gateway.runs.plan import RunPlan
from gateway.runs.records import RunRecord
from gateway.verify import Verified, extension_of
from templates.engine import Template
from templates.present import check, present, why_not_cut

__all__ = ["Made", "check_layout", "finish", "product_of"]


class Made(Struct, frozen=True, kw_only=True):
    """A finished output."""

    name: str
    data: bytes
    verified: Verified


def finish(
    template: Template,
    record: RunRecord,
    variant: int,
    variants: int,
    scene: Picture | None,
    data: bytes | None,
    pictures: Mapping[str, bytes],
) -> list[Made]:
    """The outputs of one variant.

    Args:
        template: whose overlay is laid over the scene.
        record: the run.
        variant: from 0.
        variants: in all.
        scene: what fills the outputs; None: nothing.
        data: its bytes.
        pictures: the caller's own, by variable, and what the steps made, by their name.

    Raises:
        TemplateError: the template cannot be used as it is now.
        InvalidInputs: words do not fit, which was seen when the run was let in.
    """
    ending = f"-{variant + 1}" if variants > 1 else ""
    if not record.outputs:
        if scene is None or data is None:
            return []
        kept = Verified(
            content_type=scene.content_type,
            extension=extension_of(scene.content_type),
            width=scene.width,
            height=scene.height,
        )
        return [Made(name=f"{template.scene}{ending}", data=data, verified=kept)]
    run = template.plan(record.variables, {})
    found = present(template, record.outputs, run.values, run.language, data, pictures)
    return [
        Made(
            name=f"{one.name}{ending}",
            data=one.data,
            verified=Verified(
                content_type=one.content_type,
                extension=extension_of(one.content_type),
                width=one.width,
                height=one.height,
            ),
        )
        for one in found
    ]


def check_layout(found: RunPlan) -> None:
    """See that the words of a run fit its outputs.

    Raises:
        InvalidInputs: they do not, by variable.
        TemplateError: the template cannot be used.
    """
    check(found.template, found.outputs, found.run.values, found.run.language, found.run.images)


def product_of(data: bytes) -> str | None:
    """Why a product cannot be cut out of its picture by rule; None when it can be."""
    with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        return why_not_cut(picture)
