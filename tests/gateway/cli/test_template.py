"""`gateway template`: what it shows, and what `check` finds."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.template_folders import ROW, write_template

from gateway.cli.root import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command without a gateway that runs, on a data folder of its own."""
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GATEWAY_PORT", "1")

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, ["template", *arguments])
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template of one's own, that the gateway is told of."""
    monkeypatch.setenv("GATEWAY_TEMPLATES_DIR", str(tmp_path / "mine"))
    return write_template(tmp_path / "mine")


def test_a_template_of_a_folder_is_listed(run, mine) -> None:
    code, out, _ = run("list")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("sale-card"))
    assert line.split()[1:5] == ["words", "2", "0", "ready"]
    assert any(line.startswith("billboard") for line in out.splitlines())


def test_and_shown(run, mine) -> None:
    code, out, _ = run("show", "sale-card")
    assert code == 0
    for said in (
        "string, at most 40 characters",
        "string or number, as 19.99",
        "overlay | model",
        "intent text_heavy (with text: model) or embedded-mini",
        "300 x 100",
    ):
        assert said in out
    code, out, _ = run("show", "sale-card", "--json")
    assert json.loads(out)["sample"]["words"] == "Everything must go"


def test_what_is_good_is_said_to_be(run, mine) -> None:
    code, out, _ = run("check", str(mine))
    assert (code, out.splitlines()[0]) == (0, "sale-card: good")
    code, out, _ = run("check", "--json")
    checked = {one["name"]: one for one in json.loads(out)["templates"]}
    assert (code, checked["sale-card"]["faults"], checked["billboard"]["faults"]) == (0, [], [])


FAULTS = {
    "a row": ("title:", "titel:", "unknown field `titel`"),
    "a model": ("embedded-mini", "embeded-mini", "scene: the registry has no model 'embeded-mini'"),
    "an intent": ("text_heavy", "lettering", "scene: the registry has no intent 'lettering'"),
    "an input": ("num_inference_steps: 2", "stepps: 2", "scene: the vocabulary has no input 'stepps'"),
    "a picture": ("photo: photo.png", "photo: foto.png", "photo is foto.png, which is not in the folder"),
}


@pytest.mark.parametrize(("old", "new", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_told(run, tmp_path, old, new, said) -> None:
    write_template(tmp_path / "some", "good")
    assert ROW.count(old) == 1
    write_template(tmp_path / "some", "wrong", ROW.replace(old, new))
    code, out, _ = run("check", str(tmp_path / "some"))
    assert code == 1
    assert said in out
    lines = out.splitlines()
    assert "good: good" in lines
    assert "wrong: cannot be used as it is" in lines


def test_a_picture_that_no_request_takes(run, mine) -> None:
    (mine / "photo.png").write_bytes(bytes(600 << 10))
    code, out, _ = run("check", str(mine))
    assert code == 1
    assert "photo.png, has more than 512 KiB" in out


def test_what_could_be_better_is_a_note(run, mine) -> None:
    (mine / "thumbnail.webp").unlink()
    code, out, _ = run("check", str(mine))
    assert code == 0
    assert "note: it has no thumbnail.webp" in out


def test_a_folder_that_has_none(run, tmp_path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        code, out, err = run("check", str(folder))
        assert (code, out) == (2, "")
        assert str(folder) in re.sub(r"[\s│]", "", err)
