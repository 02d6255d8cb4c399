"""Templates: variables in, a request in the vocabulary out."""

from pathlib import Path
from typing import Any

import pytest

from registry.errors import InvalidInputs
from registry.load import load_registry
from templates.engine import Request, Template
from templates.errors import TemplateError
from templates.library import TemplateLibrary

LORA = "s3://bucket/l.safetensors"
BILLBOARD = TemplateLibrary.load().templates["billboard"]

YAML = """\
title: T
description: D
variables:
  text: {type: string, required: true, max_length: 10, about: Words}
  count: {type: integer, default: 2, about: How many}
  photo: {type: image, about: A photo}
steps:
  - name: scene
    do: generate
    use:
      - {when: [photo], model: image-to-image}
      - {intent: realistic}
    inputs: {style: plain, aspect_ratio: "1:1"}
    send: {image_url: photo, num_images: count}
"""
PROMPT = "{{ text }} x{{ count }}\n{% if photo %}with a photo{% endif %}\n"


def write(folder: Path, yaml: str | bytes = YAML, prompt: str = PROMPT, name: str = "mine") -> Path:
    (folder / name).mkdir(parents=True)
    if yaml:
        (folder / name / "template.yaml").write_bytes(yaml if isinstance(yaml, bytes) else yaml.encode())
    if prompt:
        (folder / name / "prompt.jinja").write_text(prompt)
    return folder


def ask(template: Template, variables: dict[str, Any], options: dict[str, Any] | None = None) -> Request:
    return template.plan(variables, options or {}).requests[0]


def load(folder: Path, *edit: str, prompt: str = PROMPT) -> Template:
    if edit:
        assert YAML.count(edit[0]) == 1
    text = YAML.replace(*edit) if edit else YAML
    return TemplateLibrary.load(write(folder, text, prompt)).templates["mine"]


def test_the_shipped_billboard() -> None:
    done = ask(BILLBOARD, {"headline": "Winter Sale", "background_style": "snowy hills"})
    assert (done.model, done.intent) == (None, "realistic")
    assert done.inputs["prompt"].startswith("snowy hills, ")
    assert "Winter Sale" not in done.inputs["prompt"]  # we write it, and not the model
    assert "\n" not in done.inputs["prompt"]
    assert done.inputs["aspect_ratio"] == "3:1"
    assert "lora_url" not in done.inputs


@pytest.mark.parametrize("who", ["model", "both"])
def test_a_model_that_writes_is_told_the_words(who: str) -> None:
    done = ask(BILLBOARD, {"headline": "Winter Sale", "text": who})
    assert done.intent == "text_heavy"
    assert '"Winter Sale"' in done.inputs["prompt"]


def test_a_given_variable_chooses_the_model() -> None:
    done = ask(BILLBOARD, {"headline": "Sale", "avatar_lora": LORA})
    assert (done.model, done.intent) == ("flux-lora", None)
    assert done.inputs["lora_url"] == LORA
    assert "the person from the LoRA" in done.inputs["prompt"]


@pytest.mark.parametrize("headline", ["{{ 7*7 }}", "{% raw %}", "{{ self.__init__ }}", "<b>&'\"", "%s {0}"])
def test_a_variable_is_never_template_source(headline: str) -> None:
    assert f'"{headline}"' in ask(BILLBOARD, {"headline": headline, "text": "both"}).inputs["prompt"]


def test_defaults_are_typed_and_are_not_given(tmp_path: Path) -> None:
    template = load(tmp_path, "when: [photo]", "when: [count]")
    assert ask(template, {"text": "a"}).inputs == {
        "prompt": "a x2", "style": "plain", "aspect_ratio": "1:1", "num_images": 2,
    }  # fmt: skip
    assert ask(template, {"text": "a"}).intent == "realistic"
    assert ask(template, {"text": "a", "count": 0}).model == "image-to-image"
    assert ask(template, {"text": "a", "count": 0}).inputs["num_images"] == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, {"style", "aspect_ratio"}),
        ({"style": "bold"}, {"aspect_ratio"}),
        ({"style": None}, {"style", "aspect_ratio"}),
        ({"aspect_ratio": "2:1"}, {"style"}),
        ({"width": 512, "height": 512}, {"style"}),  # a size of the caller's wins whole
        ({"image_size": "512x512"}, {"style"}),
    ],
)
def test_the_callers_options_win(tmp_path: Path, options: dict[str, Any], kept: set[str]) -> None:
    inputs = ask(load(tmp_path), {"text": "a"}, options).inputs
    assert inputs.keys() - {"prompt", "num_images"} == kept


@pytest.mark.parametrize(
    ("variables", "faults"),
    [
        ({}, [("/variables/text", "missing")]),
        ({"text": ""}, [("/variables/text", "missing")]),
        ({"text": " \n"}, [("/variables/text", "missing")]),
        ({"text": None}, [("/variables/text", "missing")]),
        ({"text": 7}, [("/variables/text", "wrong_type")]),
        ({"text": ["a"]}, [("/variables/text", "wrong_type")]),
        ({"text": "a" * 11}, [("/variables/text", "out_of_range")]),
        ({"text": "a\x00"}, [("/variables/text", "not_allowed")]),
        ({"text": "a\ud800"}, [("/variables/text", "not_allowed")]),
        ({"text": "a", "count": "2"}, [("/variables/count", "wrong_type")]),
        ({"text": "a", "count": True}, [("/variables/count", "wrong_type")]),
        ({"text": "a", "photo": "ftp://x"}, [("/variables/photo", "invalid_reference")]),
        ({"text": "a", "b/c": 1, "a": 2}, [("/variables/b~1c", "unknown_variable"), ("/variables/a", "unknown_variable")]),
        ({"phot": 1}, [("/variables/phot", "unknown_variable"), ("/variables/text", "missing")]),
    ],
)  # fmt: skip
def test_every_fault_of_the_variables(
    tmp_path: Path, variables: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    template = load(tmp_path)
    with pytest.raises(InvalidInputs) as caught:
        ask(template, variables)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == faults


FAULTS: dict[str, tuple[str, str, str]] = {
    "unknown key": ("title: T", "titel: T", "unknown field `titel`"),
    "missing key": ("title: T\n", "", "missing required field `title`"),
    "duplicate key": ("title: T", "title: T\ntitle: U", "duplicate key"),
    "not YAML": ("title: T", "title: [", "not YAML"),
    "unknown type": ("{type: integer", "{type: whole", "Invalid enum value 'whole'"),
    "unknown key of a variable": ("about: Words", "about: Words, least: 2", "unknown field `least`"),
    "default of another type": ("default: 2", "default: two", "default does not fit"),
    "default of a required one": ("required: true", "required: true, default: a", "has no default"),
    "length of a number": ("default: 2", "max_length: 2", "of a string alone"),
    "no use": ("      - {when: [photo], model: image-to-image}\n      - {intent: realistic}\n", "      []\n", "serves always"),
    "last use with a when": ("{intent: realistic}", "{when: [text], intent: realistic}", "serves always"),
    "use of nothing": ("{intent: realistic}", "{}", "names a model or an intent"),
    "use of both": ("{intent: realistic}", "{intent: realistic, model: m}", "names a model or an intent"),
    "when of nothing": ("when: [photo]", "when: [foto]", "no variable 'foto'"),
    "send of nothing": ("image_url: photo", "image_url: foto", "no variable 'foto'"),
    "prompt among the inputs": ("style: plain", "prompt: plain", "is its file's"),
    "prompt sent": ("image_url: photo", "prompt: photo", "is its file's"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_rows_stops_the_load(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        load(tmp_path, old, new)
    assert message in str(caught.value)
    assert str(tmp_path / "mine" / "template.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ text", "unexpected"),
        ("{{ txt }}", "no variable 'txt'"),
        ("{{ text | shout }}", "No filter named"),
        ("{{ text.nothing }}", "has no attribute"),
        ("{{ text.__class__.__mro__ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{% include 'x' %}", "no loader"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% for i in range(9999999) %}{% endfor %}", "too big"),
    ],
)
def test_a_fault_of_the_prompt_stops_the_load(tmp_path: Path, prompt: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message) as caught:
        load(tmp_path, prompt=prompt)
    assert "mine" in str(caught.value)


def test_globals_of_jinja_are_no_variables(tmp_path: Path) -> None:
    template = load(tmp_path, prompt="{% for i in range(2) %}{{ text }} {% endfor %}")
    assert ask(template, {"text": "a"}).inputs["prompt"] == "a a"


def test_a_prompt_that_fails_on_some_values_says_so(tmp_path: Path) -> None:
    template = load(tmp_path, prompt="{{ text }} {{ 6 // count }}")
    with pytest.raises(TemplateError, match="of mine cannot be rendered"):
        ask(template, {"text": "a", "count": 0})


@pytest.mark.parametrize(
    ("yaml", "prompt"), [("", PROMPT), (YAML, ""), (b"\xff\xfe", PROMPT), ("# empty", PROMPT)]
)
def test_a_folder_that_is_not_whole_stops_the_load(tmp_path: Path, yaml: str | bytes, prompt: str) -> None:
    with pytest.raises(TemplateError, match="mine"):
        TemplateLibrary.load(write(tmp_path, yaml, prompt))


def test_an_extra_folder_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="is no folder"):
        TemplateLibrary.load(tmp_path / "absent")


def test_an_extra_folder_adds_and_wins(tmp_path: Path) -> None:
    write(write(tmp_path), name="billboard")
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes.txt").write_text("")
    found = TemplateLibrary.load(tmp_path).templates
    assert set(found) == {*TemplateLibrary.load().templates, "mine"}
    assert found["billboard"].row.title == "T"


def test_the_shipped_templates_name_what_the_registry_has() -> None:
    registry = load_registry()
    for template in TemplateLibrary.load().templates.values():
        for use in (use for step in template.row.steps for use in step.use):
            assert use.model is None or use.model in registry.models
            assert use.intent is None or use.intent in registry.intents
        for step in template.row.steps:
            assert step.inputs.keys() | step.send.keys() <= registry.vocabulary.keys()
