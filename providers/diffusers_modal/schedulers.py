"""The schedulers that a caller can name, and how diffusers calls them.

Other spellings are resolved by the registry's vocabulary before they come here; of those, the
prefix `k_` is known here too.
"""

from typing import Any

__all__ = ["SCHEDULERS", "UnknownSchedulerError", "build"]

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpmpp_2m_karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


# These cannot step when the network says the picture itself: NotImplementedError, or a ValueError.
_NOT_FROM_SAMPLES = {
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "PNDMScheduler",
}


class UnknownSchedulerError(Exception):
    """A scheduler that does not exist here, or that the pipeline cannot use."""


def build(original: Any, name: str | None) -> Any:
    """A new scheduler for one job, from the configuration that the pipeline was loaded with.

    Args:
        original: the pipeline's own scheduler; it is not changed.
        name: a key of `SCHEDULERS`; None for the pipeline's own kind.

    Raises:
        UnknownSchedulerError: no such name, or not one for this pipeline. The message lists
            those that are.
    """
    if name is None:
        return type(original).from_config(original.config)
    usable = {cls.__name__: cls for cls in [type(original), *original.compatibles]}
    if original.config.get("prediction_type") == "sample":
        usable = {known: cls for known, cls in usable.items() if known not in _NOT_FROM_SAMPLES}
    class_name, changes = SCHEDULERS.get(name.removeprefix("k_"), ("", {}))
    if class_name not in usable:
        names = sorted(key for key, (cls, _) in SCHEDULERS.items() if cls in usable)
        choice = f"it takes {', '.join(names)}" if names else "it takes its own alone: leave it out"
        raise UnknownSchedulerError(f"The scheduler {name!r} is not one for this pipeline; {choice}.")
    return usable[class_name].from_config(original.config, **changes)
