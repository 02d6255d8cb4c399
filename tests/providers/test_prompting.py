"""Prompts in the style of a family: what is added, quoted, folded, left out; and what stays as it is."""

from typing import Any

import pytest

from providers.normalizer import Translation, fitting_routes, translate
from providers.prompting import styled
from registry.load import load_registry
from registry.schema import PromptStyle
from registry.validate import validate

SHIPPED = load_registry()
SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"
TAGS = PromptStyle(about="t", append=("highly detailed", "sharp focus"))
PROSE = PromptStyle(about="p", drop=("masterpiece", "8k"), sentence=True)
LETTERS = PromptStyle(about="l", quote_lettering=True)


def send(model: str, **asked: Any) -> Translation:
    found = SHIPPED.models[model]
    inputs = validate({"inputs": asked, "options": {}}, found, SHIPPED.vocabulary)
    (route, *_) = fitting_routes(found.routes, inputs.features)
    return translate(inputs, route, SHIPPED.vocabulary, fresh_seed=7)


def row(done: Translation, name: str) -> tuple[str, Any]:
    (found,) = [row for row in done.report if row.name == name]
    return found.how, found.sent


@pytest.mark.parametrize(
    ("style", "before", "after"),
    [
        (TAGS, "a fox", "a fox, highly detailed, sharp focus"),
        (TAGS, "a fox, Highly Detailed.", "a fox, Highly Detailed, sharp focus"),
        (PROSE, "a fox in snow", "A fox in snow."),
        (PROSE, "masterpiece, a fox,  8K, in snow", "A fox, in snow."),
        (PROSE, "masterpiece, 8k", "Masterpiece, 8k."),
        (PROSE, "Is it a fox?", "Is it a fox?"),
        (PROSE, "éclair", "Éclair."),
        (LETTERS, "neon sign saying OPEN 24/7", 'neon sign saying "OPEN 24/7"'),
        (LETTERS, "a poster that says Winter Sale in a window", 'a poster that says "Winter Sale" in a window'),
        (LETTERS, "a book titled The Art of War, on oak", 'a book titled "The Art of War", on oak'),
        (LETTERS, "a card with the words Happy Birthday and the cake", 'a card with the words "Happy Birthday" and the cake'),
        (LETTERS, 'a sign saying "OPEN"', 'a sign saying "OPEN"'),
        (LETTERS, "he is saying goodbye", "he is saying goodbye"),
    ],
)  # fmt: skip
def test_by_rule(style: PromptStyle, before: str, after: str) -> None:
    assert styled(before, style) == after


def test_nothing_is_done_that_was_not_asked_for() -> None:
    done = send("fast-sdxl", prompt="a fox")
    assert (done.payload["prompt"], done.revised_prompt, done.rewritten) == ("a fox", None, False)
    assert "negative_prompt" not in done.payload


def test_latent_diffusion_gets_tags_and_a_negative_prompt() -> None:
    done = send(SD, prompt="a fox", optimize_prompt=True)
    assert done.revised_prompt == done.payload["prompt"] == "a fox, highly detailed, sharp focus"
    assert row(done, "prompt") == ("converted", "a fox, highly detailed, sharp focus")
    assert row(done, "optimize_prompt") == ("emulated", True)
    assert row(done, "negative_prompt")[0] == "defaulted"
    assert done.payload["negative_prompt"].startswith("blurry")
    assert done.rewritten


def test_the_callers_negative_prompt_stays() -> None:
    done = send(SD, prompt="a fox", negative_prompt="dogs", optimize_prompt=True)
    assert done.payload["negative_prompt"] == "dogs"


def test_an_endpoint_that_rewrites_by_itself_is_left_to_it() -> None:
    done = send("flux-pro", prompt="a fox", enhance_prompt=True)
    assert (done.payload["prompt"], done.payload["enhance_prompt"], done.revised_prompt) == (
        "a fox",
        True,
        None,
    )
    assert not done.rewritten


def test_no_is_no_parameter() -> None:
    done = send("flux-dev", prompt="a fox", optimize_prompt=False)
    assert (row(done, "optimize_prompt"), done.warnings, done.revised_prompt) == (("exact", False), (), None)


def test_a_negative_prompt_is_folded_where_the_family_reads_it() -> None:
    done = send("nano-banana", prompt="a fox", negative_prompt="dogs")
    assert done.payload["prompt"] == "a fox Do not show dogs."
    assert row(done, "negative_prompt") == ("emulated", "dogs")
    assert done.revised_prompt == "a fox Do not show dogs."
    assert not done.warnings


def test_and_dropped_with_a_warning_where_it_would_be_painted() -> None:
    done = send("flux-dev", prompt="a fox", negative_prompt="dogs")
    assert (done.payload["prompt"], row(done, "negative_prompt")[0]) == ("a fox", "dropped")
    assert done.warnings


def test_an_empty_negative_prompt_folds_nothing() -> None:
    assert send("nano-banana", prompt="a fox", negative_prompt="").payload["prompt"] == "a fox"


def test_a_language_models_prompt_is_sent_where_it_was_asked_for() -> None:
    found = SHIPPED.models["flux-dev"]
    for wanted, prompt in ((True, "A red fox."), (False, "a fox")):
        parts = {"inputs": {"prompt": "a fox", "optimize_prompt": wanted}, "options": {}}
        inputs = validate(parts, found, SHIPPED.vocabulary)
        route = fitting_routes(found.routes, inputs.features)[0]
        done = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=7, optimized="A red fox.")
        assert done.payload["prompt"] == prompt


def test_every_family_of_prompts_has_a_style() -> None:
    bare = {
        r.dialect
        for m in SHIPPED.models.values()
        for r in m.routes
        if r.repeatable and r.prompt_style is None
    }
    assert bare == set()
