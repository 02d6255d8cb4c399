"""Reads a Dockerfile, strictly: an instruction or an option that is not known here is an error, not passed over."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Copy", "Dockerfile", "Image", "Run", "Stage", "read_dockerfile"]

VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class Run:
    command: str
    env: tuple[tuple[str, str], ...]
    workdir: str
    user: str


@dataclass(frozen=True)
class Copy:
    sources: tuple[str, ...]
    to: str
    """Absolute; ends with a slash when it is a folder."""
    stage: str | None
    """Where from; None: the context."""


@dataclass
class Image:
    """What a container is started with."""

    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass
class Stage:
    name: str
    base: str
    """An image's name, or the name of a stage before."""
    args: dict[str, str] = field(default_factory=dict)
    image: Image = field(default_factory=Image)
    steps: list[Run | Copy] = field(default_factory=list)


@dataclass(frozen=True)
class Dockerfile:
    stages: dict[str, Stage]
    """By name, in order. The last one is what is built; its name is `""` when it has none."""

    @property
    def last(self) -> Stage:
        return list(self.stages.values())[-1]


def read_dockerfile(text: str) -> Dockerfile:
    """Read it.

    Raises:
        ValueError: something in it is not known here.
    """
    given: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in _instructions(text):
        if word == "ARG" and stage is None:
            name, _, value = rest.partition("=")
            given[name] = _unquoted(value)
        elif word == "FROM":
            stage = _from(_filled(rest, given), stages)
        elif stage is None:
            raise ValueError(f"{word} before FROM")
        else:
            _add(stage, word, rest)
    return Dockerfile(stages)


def _from(rest: str, stages: dict[str, Stage]) -> Stage:
    found = re.fullmatch(r"(\S+)(?: AS (\w+))?", rest)
    if found is None or (found[2] or "") in stages:
        raise ValueError(f"FROM {rest}")
    stage = Stage(found[2] or "", found[1])
    if found[1] in stages:
        before = stages[found[1]].image
        stage.image = Image(env=dict(before.env), workdir=before.workdir, user=before.user)
    stages[stage.name] = stage
    return stage


def _add(stage: Stage, word: str, rest: str) -> None:
    image = stage.image
    known = {**stage.args, **image.env}
    match word:
        case "ARG":
            name, _, value = rest.partition("=")
            stage.args[name] = _unquoted(value)
        case "ENV":
            image.env.update(_pairs(_filled(rest, known)))
        case "LABEL":
            image.labels.update(_pairs(_filled(rest, known)))
        case "RUN":
            if rest.startswith(("[", "--", "<<")):
                raise ValueError(f"RUN {rest}: only commands of the shell are known here")
            stage.steps.append(Run(rest, tuple(known.items()), image.workdir, image.user))
        case "COPY":
            stage.steps.append(_copy(_filled(rest, known), image.workdir))
        case "WORKDIR":
            image.workdir = rest
            stage.steps.append(Run(f"mkdir -p {shlex.quote(rest)}", (), "/", "0:0"))
        case _:
            _start_with(image, word, rest)


def _start_with(image: Image, word: str, rest: str) -> None:
    """What only a container's start needs."""
    match word:
        case "USER":
            image.user = rest
        case "VOLUME":
            image.volumes = _listed(rest)
        case "EXPOSE":
            image.ports = tuple(rest.split())
        case "STOPSIGNAL":
            image.stop_signal = rest
        case "HEALTHCHECK":
            image.healthcheck = _healthcheck(rest)
        case "ENTRYPOINT":
            image.entrypoint = _listed(rest)
        case "CMD":
            image.command = _listed(rest)
        case _:
            raise ValueError(f"{word} is not known here")


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Word and rest, comments and breaks of lines taken out."""
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    for line in joined.splitlines():
        if line:
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def _copy(rest: str, workdir: str) -> Copy:
    words = rest.split()
    stage = None
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    if any(word.startswith("-") or set(word) & set("*?[\"'") for word in words) or len(words) < 2:
        raise ValueError(f"COPY {rest}")
    *sources, to = words
    if len(sources) > 1 and not to.endswith("/"):
        raise ValueError(f"COPY {rest}: several need a folder")
    folder = to.endswith("/")
    place = to if to.startswith("/") else f"{workdir.rstrip('/')}/{to.removeprefix('./')}"
    return Copy(tuple(sources), place.rstrip("/") + ("/" if folder else ""), stage)


def _healthcheck(rest: str) -> tuple[str, ...]:
    found = re.fullmatch(r"((?:--(?:interval|timeout|start-period|retries)=\w+ )*)CMD (\[.*\])", rest)
    if found is None:
        raise ValueError(f"HEALTHCHECK {rest}")
    return _listed(found[2])


def _pairs(rest: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in shlex.split(rest)]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError(rest)
    return {name: value for name, _, value in pairs}


def _listed(rest: str) -> tuple[str, ...]:
    """The exec form alone: a shell in between would not pass signals on."""
    if not rest.startswith("["):
        raise ValueError(f"{rest}: write it as a list")
    return tuple(json.loads(rest))


def _unquoted(text: str) -> str:
    return "".join(shlex.split(text))


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise ValueError(f"{name} is not set: {text}")
        return values[name]

    return VARIABLE.sub(value, text)
