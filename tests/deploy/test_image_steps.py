"""The Dockerfiles' own steps, run in a Debian root that nothing else was installed in, and containers of both."""

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from support.debian_images import Builder, Container, why_not
from support.dockerfile import Image, read_dockerfile
from support.gateway_process import free_port, until

from gateway.cli.root import cli
from gateway.setting_table import SETTINGS

ROOT = Path(__file__).parents[2]
TOKEN = "t" * 40
GRACE_S = float(next(s.default for s in SETTINGS if s.name == "GATEWAY_SHUTDOWN_GRACE_S"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        why_not() is not None, reason=f"building images without a container engine {why_not()}"
    ),
]


class Built(NamedTuple):
    root: Path
    image: Image

    def packages(self) -> set[str]:
        """The names of what is installed for Python."""
        return {path.name.partition("-")[0].lower() for path in self.site.glob("*.dist-info")}

    @property
    def site(self) -> Path:
        return next(self.root.glob("opt/gateway/lib/python3.*/site-packages"))

    def megabytes(self) -> int:
        files = (os.lstat(path) for path in self.root.rglob("*"))
        return sum(file.st_blocks for file in files) * 512 >> 20


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Built]]:
    folder = tmp_path_factory.mktemp("images")
    builder = Builder(folder, ROOT, {"debian:bookworm-slim": "bookworm"})
    made = {}
    for name in ("gateway", "engine"):
        text = (ROOT / "deploy" / f"{name}.Dockerfile").read_text()
        made[name] = Built(*builder.build(read_dockerfile(text)))
    yield made
    # Gigabytes, which pytest would keep for three runs.
    subprocess.run(["rm", "-rf", str(folder)], check=True)


Start = Callable[..., Container]


@pytest.fixture
def start(images: dict[str, Built], tmp_path: Path) -> Iterator[Start]:
    """Starts a container of an image."""
    running: list[Container] = []

    def begin(name: str, *command: str, **env: str) -> Container:
        folder = tmp_path / f"{name}-{len(running)}"
        folder.mkdir()
        running.append(Container(images[name].root, images[name].image, folder, command or None, **env))
        return running[-1]

    yield begin
    for container in running:
        container.close()


def ready(gateway: Container, port: int) -> None:
    def answers() -> bool:
        gateway.alive()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    until("the gateway is ready", answers, 90)


def well(container: Container, image: Image) -> bool:
    """Whether the image's health check says so. (A command of other work: without it there is nothing to ask.)"""
    container.alive()
    return image.healthcheck[1] not in cli.commands or container.run(*image.healthcheck).returncode == 0


def test_the_gateways_image_has_what_it_needs_and_no_tools(
    images: dict[str, Built], figures: Callable[[str], None]
) -> None:
    gateway, engine = images["gateway"], images["engine"]
    needed = {"image_gateway", "litestar", "psycopg_binary", "modal", "fal_client", "opentelemetry_sdk"}
    assert needed <= gateway.packages()
    assert (
        not {"torch", "diffusers", "transformers", "pip", "setuptools", "hatchling", "pytest"}
        & gateway.packages()
    )
    assert needed | {"torch", "diffusers", "transformers", "peft", "accelerate"} <= engine.packages()
    # setuptools is one that torch asks for.
    assert not {"pip", "pytest", "hatchling"} & engine.packages()
    for built in images.values():
        assert not [
            path for path in built.root.glob("usr/bin/*") if path.name in ("gcc", "cc", "pip", "pip3", "git")
        ]
        assert not (built.root / "src").exists()
        assert not list(built.root.glob("var/lib/apt/lists/*"))
        assert list(built.root.glob("mnt/*")) == []
    figures(f"gateway {gateway.megabytes()} MB, engine {engine.megabytes()} MB, Debian's part included")


def test_all_of_ours_is_compiled_for_a_root_that_nobody_writes(images: dict[str, Built]) -> None:
    """A module whose compiled form is older would be compiled at each start, and in vain."""
    for built in images.values():
        ours = [path for name in ("gateway", "providers", "registry", "templates", "billing")
                for path in (built.site / name).rglob("*.py")]  # fmt: skip
        assert len(ours) > 200
        for path in ours:
            compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
            kind, changed = struct.unpack("<II", compiled.read_bytes()[4:12])
            assert kind != 0 or changed == int(path.stat().st_mtime), path


def test_one_box_as_compose_starts_it(images: dict[str, Built], start: Start) -> None:
    """Both containers, the engine reached over a socket; the first account made as README.md says."""
    engine_port, port = free_port(), free_port()
    words = [str(engine_port) if word == "7861" else word for word in images["engine"].image.command]
    engine = start("engine", *words, GATEWAY_ENGINE_TOKEN=TOKEN)
    gateway = start(
        "gateway",
        GATEWAY_PORT=str(port),
        GATEWAY_ENGINE=f"127.0.0.1:{engine_port}",
        GATEWAY_ENGINE_TOKEN=TOKEN,
    )
    ready(gateway, port)
    assert well(gateway, images["gateway"].image)
    until("the engine is well", lambda: well(engine, images["engine"].image), 60)

    assert gateway.run("id", "-u").stdout.strip() == "10001"
    assert "Read-only" in gateway.run("sh", "-c", "echo > /opt/gateway/x").stderr
    rights = gateway.run("grep", "CapEff", "/proc/1/status").stdout.split()
    assert rights == ["CapEff:", "0000000000000000"]

    made = gateway.run("gateway", "account", "create", "Ann", "--tier", "premium", "--balance", "10")
    assert made.returncode == 0, made.stderr
    key = gateway.run("gateway", "keys", "create", made.stdout.strip()).stdout.strip()
    admin = gateway.run(
        "gateway", "admin", "create", "me@example.org", "--password", "tread softly 17 herons"
    )
    assert admin.returncode == 0, admin.stderr
    body = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "seed": 7}}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as http:
        assert http.post("/api/images/generate", json=body).status_code == 401
        http.headers["Authorization"] = f"Bearer {key}"
        job = http.post("/api/images/generate", json=body)
        assert job.status_code == 200, job.text
        picture = http.get("/images/" + job.json()["images"][0]["id"])
        assert picture.content.startswith(b"\x89PNG"), picture.text

    doctor = gateway.run("gateway", "doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "1 picture" in doctor.stdout
    for container in (gateway, engine):
        assert container.stop(GRACE_S + 20) == 0, container.log.read_text()
        assert "Read-only file system" not in container.log.read_text()
        assert "Traceback" not in container.log.read_text()


def test_the_engines_image_alone_is_a_gateway_with_an_engine(images: dict[str, Built], start: Start) -> None:
    port = free_port()
    both = start("engine", "serve", GATEWAY_PORT=str(port))
    ready(both, port)
    until("it has started its engine", (both.data / "engine.json").exists, 60)
    assert both.stop(GRACE_S + 20) == 0, both.log.read_text()
    assert not (both.data / "engine.json").exists()


def test_nothing_stays_mounted(images: dict[str, Built]) -> None:
    assert str(images["gateway"].root.parent.parent) not in Path("/proc/mounts").read_text()
