"""How a family of models wants its prompts written, as data."""

from msgspec import Struct

__all__ = ["NEGATIVE", "PromptStyle"]

NEGATIVE = "{negative}"
"""Stands in `fold_negative` for what the caller does not want to see."""


class PromptStyle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One style. Everything but `fold_negative` is done only where `optimize_prompt` asks for it.

    Raises:
        ValueError: `fold_negative` has no place for the negative prompt.
    """

    about: str
    """One line for people: which models, and what they read well."""
    guide: str = ""
    """What a language model is told that rewrites a prompt (`GATEWAY_OPTIMIZER`)."""
    drop: tuple[str, ...] = ()
    """Phrases between commas that these models make nothing of; capitals or not."""
    append: tuple[str, ...] = ()
    """Phrases to add, each unless the prompt has it."""
    sentence: bool = False
    """A capital at the start and a full stop at the end."""
    quote_lettering: bool = False
    """Lettering that the prompt names (`a sign saying OPEN`) is put in quotes."""
    negative: str = ""
    """The negative prompt where the caller gives none and the endpoint takes one."""
    fold_negative: str = ""
    """Where the endpoint takes no negative prompt: what is put behind the prompt, `{negative}` in it, asked
    for or not. Without it a negative prompt is dropped there: many models paint what they read.
    """

    def __post_init__(self) -> None:
        if self.fold_negative and NEGATIVE not in self.fold_negative:
            raise ValueError(f"fold_negative has no {NEGATIVE}")
