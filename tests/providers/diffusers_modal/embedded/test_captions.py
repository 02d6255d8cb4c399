"""The small language: what can be said, and how it becomes tokens."""

from random import Random

import pytest

from providers.diffusers_modal.embedded.captions import ALIASES, VOCABULARY, caption, plain_caption
from providers.diffusers_modal.embedded.scenes import (
    COLOURS,
    Landscape,
    Shape,
    held_out,
    random_landscape,
    random_scene,
    random_shape,
)
from providers.diffusers_modal.embedded.tokens import MAX_TOKENS, create_tokenizer

RED = Shape("red", "circle", "small", "top left", "white")
ALPS = Landscape("night", "mountains", snow=True, orb="moon", stars=True)


@pytest.fixture(scope="module")
def tokenizer():
    return create_tokenizer()


def words(tokenizer, text):
    ids = tokenizer(text, truncation=True).input_ids
    return tokenizer.convert_ids_to_tokens(ids)[1:-1]


def test_plain_captions_say_everything():
    assert plain_caption(RED) == "a small red circle at the top left on a white background"
    assert plain_caption(ALPS) == "snowy mountains at night with the moon and stars"
    orange = Shape("blue", "star", "large", "center", "orange")
    assert plain_caption(orange).endswith("on an orange background")


def test_captions_vary_in_words_and_order():
    rng = Random(1)
    said = {caption(RED, rng) for _ in range(200)}
    assert len(said) > 100
    assert {text.split()[0] for text in said} >= {"a", "at", "on"}


def test_some_captions_leave_something_out_and_whole_ones_do_not():
    rng = Random(1)
    reds = {"red", "crimson", "scarlet"}
    assert not all(reds & set(caption(RED, rng).split()) for _ in range(300))
    assert all(reds & set(caption(RED, rng, whole=True).split()) for _ in range(300))


def test_every_caption_is_made_of_known_words_and_fits(tokenizer):
    rng = Random(2)
    for _ in range(2000):
        text = caption(random_scene(rng), rng)
        known = words(tokenizer, text)
        left_out = set(text.replace("-", " ").replace(",", " ").split()) - set(known)
        assert left_out <= {"a", "an", "the", "of", "by", "during"}
        assert len(known) + 2 < MAX_TOKENS


def test_no_two_words_share_a_token(tokenizer):
    ids = tokenizer(list(VOCABULARY)).input_ids
    assert len({tuple(i) for i in ids}) == len(VOCABULARY)
    assert all(len(i) == 3 and i[1] > 2 for i in ids)


@pytest.mark.parametrize(
    "text",
    [
        "SNOWY Mountains, at night!",
        "a breathtaking 8k photograph of snowy mountains captured at night, bokeh, f/1.8",
        "snowy_mountains at\tnight\U0001f3d4️",
        "snówy mountains (at:1.2) night",
    ],
)
def test_unknown_words_case_and_signs_do_no_harm(tokenizer, text):
    assert words(tokenizer, text) == ["snowy", "mountains", "at", "night"]


@pytest.mark.parametrize(("alias", "word"), ALIASES.items())
def test_an_alias_is_read_as_its_word(tokenizer, alias, word):
    assert words(tokenizer, alias) == [word] == words(tokenizer, word)
    assert alias not in VOCABULARY


def test_a_long_prompt_keeps_what_it_says(tokenizer):
    text = "masterpiece, " * 500 + "a red circle"
    assert words(tokenizer, text) == ["red", "circle"]


def test_a_word_within_a_word_is_not_one(tokenizer):
    assert words(tokenizer, "redder infrared circles startled") == []


def test_held_out_combinations_are_a_sixteenth_and_leave_every_word_to_train_on():
    rng = Random(3)
    shapes = [random_shape(rng) for _ in range(8000)]
    landscapes = [random_landscape(rng) for _ in range(8000)]
    for scenes in (shapes, landscapes):
        assert 0.03 < sum(map(held_out, scenes)) / len(scenes) < 0.09
    trained = [shape for shape in shapes if not held_out(shape)]
    assert {shape.colour for shape in trained} == set(COLOURS)
    assert len({(s.colour, s.shape, s.position) for s in trained}) == 11 * 36
