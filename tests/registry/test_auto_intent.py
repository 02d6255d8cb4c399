"""`intent: auto`: what prompts show, by a file of prompts with the intent that a person expects."""

from pathlib import Path

import pytest

from registry.catalog import Catalog
from registry.load import load_registry

CATALOG = Catalog(load_registry())
ROWS = [line.split("\t") for line in (Path(__file__).parent / "prompts.tsv").read_text().splitlines()]
NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(("intent", "prompt"), ROWS, ids=[row[1][:40] for row in ROWS])
def test_a_prompt(intent: str, prompt: str) -> None:
    assert CATALOG.read_prompt(prompt, NOTHING)[0] == intent


def test_every_intent_but_edit_has_prompts() -> None:
    assert {intent for intent, _ in ROWS} == CATALOG.data.intents.keys() - {"edit"}


@pytest.mark.parametrize(
    "prompt", ["remove the car", "make it snow", "change the sky to dusk", "Replace the dog by a cat"]
)
def test_an_edit_is_one_of_a_picture(prompt: str) -> None:
    assert CATALOG.read_prompt(prompt, frozenset({"image"}))[0] == "edit"
    assert CATALOG.read_prompt(prompt, NOTHING)[0] != "edit"


def test_it_says_by_what() -> None:
    assert CATALOG.read_prompt("a sign\n saying  OPEN", NOTHING)[1] == "the prompt has 'saying OPEN'"
    assert CATALOG.read_prompt("a dog", NOTHING)[1] == "the prompt has no mark of a need"


def test_a_long_prompt_is_read_in_no_time() -> None:
    for prompt in ("a " * 5000, '"' * 5000, "sign " * 2000, "but " * 2500, "'" * 5000):
        CATALOG.read_prompt(prompt, NOTHING)
