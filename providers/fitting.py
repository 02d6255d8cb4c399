"""One value and one rule: the nearest that a route takes, and how the endpoint wants it written."""

from typing import Any

from msgspec.structs import replace

from registry.inputs import Lora
from registry.schema import ParameterRule

__all__ = ["fit", "shape"]


def fit(rule: ParameterRule, value: Any) -> tuple[Any, str | None, str | None]:
    """The nearest value that the route takes, and what was wrong with the one asked for.

    None as the nearest value: there is no nearest, it can only be left out.
    """
    if rule.enum and str(value) not in rule.enum:
        return None, f"{value!r} is not one of the model's values", ", ".join(rule.enum)
    if isinstance(value, tuple) and all(isinstance(item, Lora) for item in value):
        return _fit_scales(rule, value)
    if isinstance(value, tuple) and rule.most is not None and len(value) > rule.most:
        return value[: rule.most], f"{len(value)} are more than this model takes", f"at most {rule.most}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        fitted = _clamped(rule, value)
        if fitted != value:
            return fitted, f"{value} is out of this model's range", _range(rule)
    return value, None, None


def _fit_scales(rule: ParameterRule, loras: tuple[Lora, ...]) -> tuple[Any, str | None, str | None]:
    fitted = tuple(replace(lora, scale=float(_clamped(rule, lora.scale))) for lora in loras)
    moved = [str(lora.scale) for lora, kept in zip(loras, fitted, strict=True) if lora != kept]
    if not moved:
        return loras, None, None
    return fitted, f"a LoRA's scale of {' and '.join(moved)} is out of this model's range", _range(rule)


def _clamped(rule: ParameterRule, value: float) -> float:
    low = value if rule.min is None else rule.min
    high = value if rule.max is None else rule.max
    return min(max(value, low), high)


def _range(rule: ParameterRule) -> str:
    if rule.min is None or rule.max is None:
        return f"at most {rule.max}" if rule.min is None else f"at least {rule.min}"
    return f"{rule.min} to {rule.max}"


def shape(rule: ParameterRule, value: Any) -> Any:
    """The value as the endpoint wants it written."""
    if rule.shape == "string":
        return str(value)
    if rule.shape == "list":
        return [value]
    if rule.shape == "loras":
        return [_lora(item) for item in value]
    return list(value) if isinstance(value, tuple) else value


def _lora(item: Any) -> dict[str, Any]:
    if isinstance(item, Lora):
        return {"path": item.url, "scale": item.scale}
    return {"path": item["url"], "scale": item.get("scale", 1.0)}
