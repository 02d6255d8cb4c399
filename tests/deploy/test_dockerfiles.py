"""The Dockerfiles, as far as reading tells: what they are made of, and what a container is started with."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from support.dockerfile import Copy, Dockerfile, Run, read_dockerfile

from gateway.cli.root import cli

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = ("gateway", "engine")


def read(name: str) -> Dockerfile:
    return read_dockerfile((ROOT / "deploy" / f"{name}.Dockerfile").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_container_is_a_user_without_rights_that_writes_in_data_alone(name: str) -> None:
    image = read(name).last.image
    assert image.user == "10001:10001"
    assert image.volumes == ("/data",)
    assert image.workdir == image.env["HOME"] == image.env["GATEWAY_DATA_DIR"] == "/data"
    assert image.env.get("HF_HOME", "/data").startswith("/data")
    assert image.env["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_told_to_stop_and_asked_how_it_is(name: str) -> None:
    image = read(name).last.image
    assert image.stop_signal == "SIGTERM"
    assert image.entrypoint == ("gateway",)
    assert image.healthcheck[0] == "gateway"
    for command, *options in (image.command, image.healthcheck[1:]):
        cli.commands[command].make_context(command, options)


@pytest.mark.parametrize("name", NAMES)
def test_its_labels_are_the_projects(name: str) -> None:
    labels = {k.removeprefix("org.opencontainers.image."): v for k, v in read(name).last.image.labels.items()}
    assert labels["version"] == PROJECT["version"]
    assert labels["licenses"] == PROJECT["license"]
    assert labels["title"].startswith(PROJECT["name"])
    assert labels.keys() == {"title", "description", "licenses", "version", "revision"}


def test_what_both_have_is_built_once() -> None:
    ours, engines = read("gateway"), read("engine")
    for stage in ("base", "dependencies", "ours"):
        assert ours.stages[stage] == engines.stages[stage]
    assert list(engines.stages) == ["base", "dependencies", "ours", "torch", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_the_sources_leaves_the_packages_as_they_were(name: str) -> None:
    """The stages that packages are installed in see no source; the last one copies both, the packages first."""
    file = read(name)
    for stage in ("base", "dependencies", "torch"):
        steps = file.stages[stage].steps if stage in file.stages else []
        copied = {source for step in steps if isinstance(step, Copy) for source in step.sources}
        assert copied <= {"pyproject.toml", "constraints.txt", "deploy/requirements.py"}
    last = [step.stage for step in file.last.steps if isinstance(step, Copy)]
    assert last == ["torch" if name == "engine" else "dependencies", "ours"]


@pytest.mark.parametrize("name", NAMES)
def test_every_install_is_pinned_or_ours(name: str) -> None:
    installs = [
        step.command
        for stage in read(name).stages.values()
        for step in stage.steps
        if isinstance(step, Run) and "pip --python" in step.command
    ]
    assert len(installs) == (4 if name == "engine" else 2)
    assert all("-c constraints.txt" in command or "--no-index" in command for command in installs)


def test_the_packages_are_those_of_the_project(tmp_path: Path) -> None:
    def printed(*extras: str) -> list[str]:
        command = [sys.executable, str(ROOT / "deploy" / "requirements.py"), *extras]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    extras = PROJECT["optional-dependencies"]
    assert printed() == PROJECT["dependencies"]
    assert printed("fal", "otel") == [*extras["fal"], *extras["otel"]]
    for file in map(read, NAMES):
        named = " ".join(step.command for step in file.stages["dependencies"].steps if isinstance(step, Run))
        assert "requirements.py fal modal postgresql otel" in named
    assert {"fal", "modal", "postgresql", "otel", "diffusers"} == extras.keys() - {"all", "dev"}


def test_the_context_has_what_is_copied_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = exclude_paths(str(ROOT), [line for line in lines if line and not line.startswith("#")])
    files = {name for name in sent if (ROOT / name).is_file()}
    copied = {
        source
        for name in NAMES
        for stage in read(name).stages.values()
        for step in stage.steps
        if isinstance(step, Copy) and step.stage is None
        for source in step.sources
    }
    for name in files - {".dockerignore"}:
        assert any(name == source or name.startswith(f"{source}/") for source in copied), name
        assert "__pycache__" not in name
    assert all(any(name == source or name.startswith(f"{source}/") for name in files) for source in copied)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nADD x /y",
        "FROM a\nRUN --mount=type=cache,target=/x true",
        "FROM a\nCOPY --chown=1 x /y",
        "FROM a\nCOPY x* /y/",
        "FROM a\nCOPY x y /z",
        "FROM a\nENTRYPOINT gateway",
        "FROM a\nCMD gateway serve",
        "FROM a\nHEALTHCHECK --start-interval=1s CMD [\"x\"]",
        "FROM a\nENV A ${B}",
        "FROM ${A}",
        "FROM --platform=x a",
        "RUN true",
        "FROM a\nONBUILD RUN true",
    ],
)  # fmt: skip
def test_the_reader_passes_nothing_over(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own words
        read_dockerfile(text)
