"""The shipped registry with a few of its models and what they need: the whole takes a while to load."""

from importlib import resources
from typing import Any

import yaml

__all__ = ["some_models"]

SHIPPED = yaml.load(
    resources.files("registry").joinpath("models.yaml").read_text("utf-8"),
    getattr(yaml, "CSafeLoader", yaml.SafeLoader),
)


def some_models(*models: str, **more: Any) -> str:
    """The text of a registry with some models, the same members of each replaced."""
    kept = {name: SHIPPED["models"][name] | more for name in models}
    wanted = [route["dialect"] for model in kept.values() for route in model["routes"]]
    for name in wanted:  # grows by what each extends
        wanted += [parent] if (parent := SHIPPED["dialects"][name].get("extends")) else []
    dialects = {name: row for name, row in SHIPPED["dialects"].items() if name in wanted}
    rest = {
        "dialects": dialects,
        "models": kept,
        "intents": {"all": {"about": "All", "models": list(models)}},
        "default": list(models),
    }
    return yaml.safe_dump(SHIPPED | rest, sort_keys=False)
