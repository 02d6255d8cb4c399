"""`gateway template`: seen, tried for nothing, run with a progress bar, and photographed by its author."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.template_folders import ROW, write_template

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "gateway", "template"]
WORDS = ("--set", "words=Everything must go")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that has `sale-card` too, and `slow`, whose scene takes its time."""
    root = tmp_path_factory.mktemp("mine")
    write_template(root)
    write_template(root, "slow", ROW.replace("num_inference_steps: 2", "num_inference_steps: 50"))
    data = tmp_path_factory.mktemp("data") / "data"
    running = GatewayProcess(data, GATEWAY_TEMPLATES_DIR=str(root)).start()
    yield running
    running.check_books()
    running.close()


def run(gateway: GatewayProcess, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], env=gateway.env, cwd=cwd, capture_output=True, timeout=100)


def form_of(path: Path) -> tuple[str | None, tuple[int, int]]:
    with Image.open(path) as picture:
        return picture.format, picture.size


def test_its_files_come_to_a_folder(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = run(gateway, tmp_path, "run", "sale-card", *WORDS, "--count", "2", "--out", "made")
    assert ended.returncode == 0, ended.stderr
    names = ["card-1.png", "tile-1.jpeg", "card-2.png", "tile-2.jpeg"]
    assert ended.stdout.decode().split() == [f"made/sale-card-{name}" for name in names]
    assert form_of(tmp_path / "made" / "sale-card-card-1.png") == ("PNG", (300, 100))
    assert form_of(tmp_path / "made" / "sale-card-tile-2.jpeg") == ("JPEG", (120, 120))


def test_one_output_in_another_format_as_json(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = run(gateway, tmp_path, "run", "sale-card", *WORDS, "--only", "tile", "--format", "webp", "--json")
    job = json.loads(ended.stdout)
    assert ([image["name"] for image in job["images"]], job["template"]) == (["tile"], "sale-card")
    assert form_of(tmp_path / "sale-card-tile.webp") == ("WEBP", (120, 120))


def test_an_estimate_spends_nothing(gateway: GatewayProcess, tmp_path: Path) -> None:
    before = gateway.http.get("/api/jobs/counts").json()["total"]
    ended = run(gateway, tmp_path, "run", "sale-card", *WORDS, "--estimate")
    assert (ended.returncode, ended.stdout.split()[1]) == (0, b"USD")
    assert b"card 300x100" in ended.stdout
    assert gateway.http.get("/api/jobs/counts").json()["total"] == before


def test_a_preview(gateway: GatewayProcess, tmp_path: Path) -> None:
    before = gateway.http.get("/api/jobs/counts").json()["total"]
    ended = run(gateway, tmp_path, "preview", "sale-card", *WORDS, "--output", "tile", "--out", "tile.jpg")
    assert (ended.returncode, ended.stdout) == (0, b"tile.jpg\n"), ended.stderr
    assert form_of(tmp_path / "tile.jpg") == ("JPEG", (120, 120))
    assert run(gateway, tmp_path, "preview", "sale-card", *WORDS, "--out", "-").stdout.startswith(b"\x89PNG")
    assert gateway.http.get("/api/jobs/counts").json()["total"] == before


def test_a_file_of_this_machine_is_uploaded(gateway: GatewayProcess, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "bottle.png")
    ended = run(gateway, tmp_path, "run", "sale-card", *WORDS, "--set", "photo=./bottle.png", "--json")
    assert ended.returncode == 0, ended.stderr
    ((kind, size),) = gateway.query("select kind, byte_size from media where id like 'upl_%'")
    assert kind == "image"
    assert size > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "words"), b"NAME=VALUE"),
        (("--set", "wordz=x"), b"no variable 'wordz'"),
        ((*WORDS, "--set", "photo=./none.png"), b"cannot be read"),
        (("--set", "words=" + "W" * 40), b"/variables/words"),
        ((*WORDS, "--set", "price=cheap"), b"/variables/price"),
        ((), b"/variables/words"),
    ],
)
def test_what_is_wrong_is_named(gateway: GatewayProcess, tmp_path: Path, arguments, said) -> None:
    for command in ("preview", "run"):
        ended = run(gateway, tmp_path, command, "sale-card", *arguments)
        assert (ended.returncode, ended.stdout) == (2, b"")
        assert said in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_how_far_it_is(gateway: GatewayProcess, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    env = {**gateway.env, "TERM": "xterm-256color", "COLUMNS": "100"}
    arguments = [*COMMAND, "run", "slow", *WORDS, "--count", "4"]
    process = subprocess.Popen(arguments, env=env, cwd=tmp_path, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    assert process.wait(60) == 0
    os.close(leader)
    assert re.search(rb"scene: .*\d+/\d+", shown)


def test_an_author_makes_its_pictures(gateway: GatewayProcess, tmp_path: Path) -> None:
    folder = Path(gateway.env["GATEWAY_TEMPLATES_DIR"]) / "slow"
    ended = run(gateway, tmp_path, "samples", "slow", "--out", "docs", "--thumbnails")
    assert ended.returncode == 0, ended.stderr
    assert form_of(tmp_path / "docs" / "slow" / "card.webp") == ("WEBP", (300, 100))
    assert form_of(tmp_path / "docs" / "slow" / "tile.webp") == ("WEBP", (120, 120))
    assert form_of(folder / "thumbnail.webp") == ("WEBP", (300, 100))
    # What lies there is not what the gateway has any more: it says so, and makes nothing.
    ended = run(gateway, tmp_path, "thumbnail", "slow", "--output", "tile", "--preview")
    assert ended.returncode == 2
    assert b"reload it" in ended.stderr
    assert gateway.http.post("/api/admin/registry/reload", json={}).status_code == 200
    ended = run(gateway, tmp_path, "thumbnail", "slow", "--output", "tile", "--preview")
    assert ended.returncode == 0, ended.stderr
    assert form_of(folder / "thumbnail.webp") == ("WEBP", (120, 120))
    assert (
        gateway.http.get("/api/templates/slow/thumbnail").content == (folder / "thumbnail.webp").read_bytes()
    )
