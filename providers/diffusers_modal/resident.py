"""A pipeline in memory, and those that share its weights."""

import copy
import inspect
from collections.abc import Mapping, Set
from typing import Any

from providers.diffusers_modal import schedulers
from providers.diffusers_modal.refusal import Refused
from providers.diffusers_modal.wire import PipelineSpec

__all__ = ["Resident", "call_defaults", "takes"]


class Resident:
    """What an engine has loaded. Nothing else may keep its pipeline: dropping this frees it.

    Args:
        spec: what was loaded, without defaults.
        pipeline: a text-to-image pipeline of diffusers.
    """

    def __init__(self, spec: PipelineSpec, pipeline: Any) -> None:
        self.spec = spec
        self.pipeline = pipeline
        self._scheduler = pipeline.scheduler
        self._siblings: dict[str, Any] = {}
        self._unused: dict[str | None, Any] = {}
        self.spoiled = False
        """Whether its weights are no longer those that were loaded."""

    def fitting(self, pictures: Set[str]) -> Any:
        """The pipeline for a job with these input pictures: this one, or one with its modules.

        Args:
            pictures: names of arguments.

        Raises:
            Refused: there is none.
        """
        own = takes(self.pipeline)
        for name in sorted(pictures - own - {"image", "mask_image"}):
            raise Refused("bad_parameter", f"{self._name} does not take a picture as {name}.")
        if pictures <= own:
            return self.pipeline
        if "image" not in pictures:
            raise Refused("bad_parameter", "mask_image says where to paint, and there is no image.")
        kind = "Inpainting" if "mask_image" in pictures else "Image2Image"
        if kind not in self._siblings:
            self._siblings[kind] = self._sibling(kind)
        return self._siblings[kind]

    def _sibling(self, kind: str) -> Any:
        import diffusers

        try:
            # Not `DiffusionPipeline.from_pipe`, which turns the shared weights into float32.
            maker = getattr(diffusers, f"AutoPipelineFor{kind}")
            sibling = maker.from_pipe(self.pipeline, add_watermarker=False)
        except ValueError:
            name = "mask_image" if kind == "Inpainting" else "image"
            raise Refused("bad_parameter", f"{self._name} does not take a picture as {name}.") from None
        sibling.set_progress_bar_config(disable=True)
        return sibling

    def set_scheduler(self, pipeline: Any, name: str | None) -> None:
        """Give a pipeline a new scheduler.

        It is a copy, for each call, of one that never ran: nothing of the job before, not even
        of one that was cut short, is left in it.

        Raises:
            Refused: no such scheduler, or not one for this pipeline.
        """
        if name not in self._unused:
            try:
                self._unused[name] = schedulers.build(self._scheduler, name)
            except schedulers.UnknownSchedulerError as error:
                raise Refused("unknown_scheduler", str(error)) from None
        # Some take 0.1 s to be built, and none a millisecond to be copied.
        pipeline.scheduler = copy.deepcopy(self._unused[name])

    def release(self) -> None:
        """Undo what outlives the last reference: hooks of accelerate hold the modules."""
        self.pipeline.remove_all_hooks()

    @property
    def _name(self) -> str:
        return type(self.pipeline).__name__


def takes(pipeline: object) -> Set[str]:
    """Names of the arguments of a pipeline's call."""
    return call_defaults(pipeline).keys()


def call_defaults(pipeline: object) -> Mapping[str, Any]:
    """The arguments of a pipeline's call with their defaults."""
    # Kept by class, so nothing pins a pipeline.
    known = _DEFAULTS.get(type(pipeline))
    if known is None:
        parameters = inspect.signature(type(pipeline).__call__).parameters
        no_names = ("self", "args", "kwargs")
        known = {name: parameter.default for name, parameter in parameters.items() if name not in no_names}
        _DEFAULTS[type(pipeline)] = known
    return known


_DEFAULTS: dict[type, Mapping[str, Any]] = {}
