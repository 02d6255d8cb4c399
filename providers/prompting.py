"""A prompt in the style of a family of models: pure, by the registry's `prompt_styles`."""

import re

from msgspec import Struct

from registry.inputs import UnifiedInputs
from registry.schema import Route
from registry.styles_schema import NEGATIVE, PromptStyle

__all__ = ["Written", "styled", "write_prompt"]

# "a sign saying OPEN 24/7 in a window": what follows the verb and is written large, up to a word that is not.
_LETTERING = re.compile(
    r"\b((?:that )?(?:say(?:s|ing)|read(?:s|ing)|spell(?:s|ing)(?: out)?|titled|labell?ed|captioned|"
    r"with the (?:words?|text|name|title|slogan|headline)))[:,]?\s+"
    r"((?:[A-Z0-9&$€£#][^\s,.;\"“”]*)(?:\s+(?:[A-Z0-9&$€£#%!+/-][^\s,.;\"“”]*|of|the|and|&))*)"
)
_SMALL = re.compile(r"(?:\s+(?:of|the|and|&))+$")


class Written(Struct, frozen=True, kw_only=True):
    """A prompt as a route gets it."""

    prompt: str | None
    rewritten: str | None = None
    """Why it was rewritten; None when it was not."""
    folded: bool = False
    """The negative prompt is in it."""
    negative: str | None = None
    """A negative prompt to send although the caller gave none."""


def write_prompt(inputs: UnifiedInputs, route: Route, optimized: str | None) -> Written:
    """The prompt of a request for a route.

    `optimize_prompt` is honoured here unless the endpoint does it itself.

    Args:
        inputs: validated inputs.
        route: with its style.
        optimized: the prompt as a language model rewrote it, if one did.
    """
    prompt, style = inputs.prompt, route.prompt_style
    if prompt is None or "prompt" not in route.parameters or style is None:
        return Written(prompt=prompt)
    wanted = inputs.optimize_prompt is True and "optimize_prompt" not in route.parameters
    takes_negative = "negative_prompt" in route.parameters
    text = prompt
    if wanted:
        text = optimized or styled(prompt, style)
    folded = bool(inputs.negative_prompt and style.fold_negative and not takes_negative)
    if folded:
        text = f"{text.rstrip()} {style.fold_negative.replace(NEGATIVE, inputs.negative_prompt or '')}"
    return Written(
        prompt=text,
        rewritten=("rewritten by the optimizer" if optimized else style.about) if wanted else None,
        folded=folded,
        negative=style.negative or None if wanted and takes_negative and not inputs.negative_prompt else None,
    )


def styled(prompt: str, style: PromptStyle) -> str:
    """A prompt rewritten by rule: it says what it said, as the family reads it best."""
    text = " ".join(prompt.split())
    if style.drop:
        gone = {phrase.casefold() for phrase in style.drop}
        kept = [part for part in text.split(",") if part.strip(" .").casefold() not in gone]
        text = ",".join(kept).strip(" ,") or text
    if style.quote_lettering and '"' not in text and "“" not in text:
        text = _LETTERING.sub(_quoted, text)
    missing = [phrase for phrase in style.append if phrase.casefold() not in text.casefold()]
    text = ", ".join([text.rstrip(" .,"), *missing]) if missing else text
    if style.sentence:
        text = text[:1].upper() + text[1:]
        text = text if text.endswith((".", "!", "?", '"')) else f"{text}."
    return text


def _quoted(found: re.Match[str]) -> str:
    words = _SMALL.sub("", found[2])
    rest = found[2][len(words) :]
    return f'{found[1]} "{words}"{rest}'
