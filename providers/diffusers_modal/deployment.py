"""What the Modal app is called, and what the environment says about its GPU tiers.

Read where the app is deployed; the gateway and the containers use the names. Imports nothing of
Modal's.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

__all__ = [
    "APP_NAME",
    "FETCH_NAME",
    "PROGRESS_NAME",
    "TIERS",
    "VOLUME_NAME",
    "VOLUME_PATH",
    "SettingError",
    "TierSettings",
    "class_name",
    "tier_settings",
]

APP_NAME = "image-gateway-diffusers"
FETCH_NAME = "fetch"
PROGRESS_NAME = "diffusers-progress"
VOLUME_NAME = "diffusers-models"
VOLUME_PATH = "/root/.cache/huggingface"
TIERS = ("A10G", "L40S")

_GPU = re.compile(r"[A-Za-z0-9-]+!?(:[1-8])?")


class SettingError(ValueError):
    """An environment variable's value cannot be used. The message names it, and what it may be."""


class TierSettings(Struct, frozen=True, kw_only=True):
    """How one GPU tier is deployed."""

    gpu: str
    """As Modal spells it: `A10G`, `L40S`, `L40S:2`."""
    max_containers: int
    scaledown_s: int
    """Seconds that an idle container stays."""
    timeout_s: int
    """Seconds after which Modal ends a job's container."""


def class_name(tier: str) -> str:
    """Of a tier's Modal class: `A10G` is `DiffusersBackend_A10G`."""
    return f"DiffusersBackend_{tier}"


def tier_settings(env: Mapping[str, str], tier: str) -> TierSettings:
    """From `DIFFUSERS_<TIER>_GPU`, `_MAX_CONTAINERS`, `_SCALEDOWN` and `_TIMEOUT`; empty is unset.

    Raises:
        SettingError: a value is no number, or outside of what Modal takes.
    """
    gpu = env.get(f"DIFFUSERS_{tier}_GPU", "").strip() or tier
    if _GPU.fullmatch(gpu) is None:
        raise SettingError(
            f"DIFFUSERS_{tier}_GPU is {gpu!r}; it is a GPU of Modal's and perhaps a number of them, "
            f"such as {tier} or {tier}:2."
        )
    return TierSettings(
        gpu=gpu,
        max_containers=_whole(env, f"DIFFUSERS_{tier}_MAX_CONTAINERS", 1, 1, 1000),
        scaledown_s=_whole(env, f"DIFFUSERS_{tier}_SCALEDOWN", 300, 2, 3600, "seconds"),
        timeout_s=_whole(env, f"DIFFUSERS_{tier}_TIMEOUT", 1800, 10, 86400, "seconds"),
    )


def _whole(env: Mapping[str, str], name: str, default: int, low: int, high: int, unit: str = "") -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and low <= int(text) <= high):
        words = f"a whole number of {unit}" if unit else "a whole number"
        raise SettingError(f"{name} is {text!r}; it is {words} from {low} to {high}.")
    return int(text)
