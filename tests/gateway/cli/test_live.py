"""`gateway registry check --live` and `gateway registry import fal`, against a fal on loopback."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.loopback_fal_faults import said
from support.loopback_fal_platform import LoopbackPlatform, input_of
from support.some_models import some_models

from gateway.cli.root import main
from providers.fal.findings import CODES

DEV, RECRAFT = "fal-ai/flux/dev", "fal-ai/recraft/v3/text-to-image"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fal() -> Iterator[LoopbackPlatform]:
    with LoopbackPlatform() as server:
        yield server
        assert server.violations == []


@pytest.fixture
def run(fal, tmp_path, monkeypatch, capsys) -> Run:
    """The command line with its exit code, in an environment that has this fal and nothing else."""

    def call(*arguments: str, **env: str) -> tuple[int, str, str]:
        for name, value in {**fal.env(), "GATEWAY_DATA_DIR": str(tmp_path), **env}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["gateway", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said_here = capsys.readouterr()
        return code, said_here.out, said_here.err

    return call


def registry(folder: Path, *models: str, **more: object) -> str:
    """A registry with a few of the shipped models."""
    (folder / "few.yaml").write_text(some_models(*models, **more))
    return str(folder / "few.yaml")


def test_the_shipped_registry_breaks_nothing(run, fal) -> None:
    code, out, err = run("registry", "check", "--live")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Notes"
    assert out.splitlines()[-1].startswith("36 endpoints of fal, 0 breaks, ")
    assert out.splitlines()[-1].endswith("nothing breaks")
    assert all(line == line.rstrip() for line in out.splitlines())


def test_what_breaks_comes_first_and_ends_with_1(run, fal, tmp_path) -> None:
    del input_of(fal.documents[DEV])["properties"]["num_inference_steps"]
    fal.bill(RECRAFT, "0.05", "image")
    del fal.documents["fal-ai/qwen-image"]
    file = registry(tmp_path, "flux-dev", "qwen-image", "recraft-v3")
    code, out, err = run("registry", "check", file, "--live")
    assert (code, err) == (1, "")
    shown = out.partition("Notes\n")[0].splitlines()
    assert [line for line in shown if line and "->" not in line] == [
        "Breaks",
        "  flux-dev",
        f"    {DEV}",
        "      - num_inference_steps is sent, and the endpoint has no such field [field_gone]",
        "  qwen-image",
        "    fal-ai/qwen-image",
        "      - fal has no such endpoint (any more) [endpoint_removed]",
        "  recraft-v3",
        f"    {RECRAFT}",
        "      - fal bills 0.05 USD per image, and provider_cost says 0.04 USD per image [price_raised]",
    ]
    assert len([line for line in shown if "->" in line]) == 3
    assert out.splitlines()[-1] == "7 endpoints of fal, 3 breaks, 1 note: something breaks"


def test_what_a_terminal_would_obey_is_not_printed(run, fal, tmp_path) -> None:
    input_of(fal.documents[RECRAFT])["properties"]["\x1b[2Jmood"] = {"type": "string"}
    code, out, _ = run("registry", "check", registry(tmp_path, "recraft-v3"), "--live")
    assert code == 0
    assert "[2Jmood (string)" in out
    assert "\x1b" not in out


def test_as_json(run, fal, tmp_path) -> None:
    fal.status[RECRAFT] = "deprecated"
    code, out, _ = run("registry", "check", registry(tmp_path, "recraft-v3"), "--live", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["endpoints"] == 1
    assert {f["code"] for f in report["findings"]} == {"endpoint_deprecated", "value_unused"}
    assert all(CODES[f["code"]] == f["level"] and f["todo"] for f in report["findings"])


def test_json_without_live_is_wrong_usage(run) -> None:
    code, out, err = run("registry", "check", "--json")
    assert (code, out) == (2, "")
    assert "--live" in err


def test_a_retired_model_is_not_looked_at(run, fal, tmp_path) -> None:
    del fal.documents[RECRAFT]
    file = registry(tmp_path, "recraft-v3", "qwen-image")
    text = Path(file).read_text().replace("  recraft-v3:\n", "  recraft-v3:\n    status: retired\n", 1)
    text = text.replace("models:\n    - recraft-v3\n", "models:\n").replace(
        "default:\n- recraft-v3\n", "default:\n"
    )
    Path(file).write_text(text)
    code, out, err = run("registry", "check", file, "--live")
    assert (code, err) == (0, "")
    assert "recraft" not in out


def test_a_registry_that_is_bad_is_said_before_fal_is_asked(run, fal, tmp_path) -> None:
    code, out, err = run("registry", "check", registry(tmp_path, "flux-dev", price={}), "--live")
    assert (code, out) == (1, "")
    assert "models.flux-dev.price" in err
    assert fal.requests == []


def test_a_document_that_cannot_be_read_is_said(run, fal, tmp_path) -> None:
    fal.documents[RECRAFT] = {"paths": {}}
    code, out, _ = run("registry", "check", registry(tmp_path, "recraft-v3", "qwen-image"), "--live")
    assert code == 0
    assert "its fields were not compared" in out
    assert "2 endpoints of fal (1 not compared)" in out


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"FAL_KEY": ""}, "set FAL_KEY"),
        ({"FAL_KEY": "wrong:key"}, "set FAL_KEY to one that works"),
        ({"FAL_PLATFORM_URL": "http://127.0.0.1:1"}, "could not be reached at 127.0.0.1"),
        ({"FAL_PLATFORM_URL": "http://api.example"}, "FAL_PLATFORM_URL is http to another machine"),
    ],
)
def test_a_fal_that_cannot_be_asked_is_one_line_and_2(run, tmp_path, env, words) -> None:
    code, out, err = run("registry", "check", registry(tmp_path, "flux-dev"), "--live", **env)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_nothing_known_and_nothing_read_are_no_good_news(run, fal, tmp_path) -> None:
    file = registry(tmp_path, "flux-dev")
    fal.documents = {name: {"paths": {}} for name in fal.documents}
    code, _, err = run("registry", "check", file, "--live")
    assert code == 2
    assert "nothing was compared" in err
    fal.documents = {}
    code, _, err = run("registry", "check", file, "--live")
    assert code == 2
    assert "fal knows none of the 5 endpoints" in err


@pytest.fixture
def few(tmp_path) -> str:
    return registry(tmp_path, "flux-lora")


def test_import(run, few) -> None:
    for name in (DEV, f"https://fal.ai/models/{DEV}/"):
        code, out, err = run("registry", "import", "fal", name, GATEWAY_REGISTRY=few)
        assert (code, err) == (0, "")
        (model,) = yaml.safe_load(out)["models"].values()
        assert model["routes"][0]["endpoint"] == DEV
        assert model["routes"][0]["provider_cost"] == {"per_megapixel": "0.025"}


def test_import_without_a_key_leaves_the_price_open(run, fal, few) -> None:
    code, out, err = run("registry", "import", "fal", DEV, FAL_KEY="", GATEWAY_REGISTRY=few)
    assert (code, err) == (0, "")
    assert "FILL IN" in out
    assert [request.path for request in fal.requests] == ["/api/openapi/queue/openapi.json"]


@pytest.mark.parametrize("key", ["", None])
def test_import_of_what_fal_does_not_have(run, few, key) -> None:
    env = {} if key is None else {"FAL_KEY": key}
    code, out, err = run("registry", "import", "fal", "fal-ai/none", GATEWAY_REGISTRY=few, **env)
    assert (code, out) == (2, "")
    assert "fal has no endpoint 'fal-ai/none'" in err


def test_import_of_what_cannot_be_read(run, fal, few) -> None:
    fal.documents[DEV] = {"paths": {}}
    code, out, err = run("registry", "import", "fal", DEV, GATEWAY_REGISTRY=few)
    assert (code, out) == (2, "")
    assert "cannot be read" in err


def test_import_when_fal_has_too_much_to_do(run, fal, few) -> None:
    fal.replies["/v1/models"] = said(429, "Slow down", Retry_After="5")
    code, _, err = run("registry", "import", "fal", DEV, GATEWAY_REGISTRY=few)
    assert (code, err.count("\n")) == (2, 1)
    assert "try again in 5 seconds" in err


def test_import_of_another_provider_is_wrong_usage(run) -> None:
    assert run("registry", "import", "openai", "x")[0] == 2


def test_the_page_on_the_registry_has_every_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "registry.md").read_text("utf-8")
    table = page.split("| | code |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
    assert {code: level for level, code, *_ in rows} == dict(CODES)
