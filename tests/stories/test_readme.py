"""What the README tells a new user to paste works as pasted."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess

from registry.load import parse_registry

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, holding: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in found if holding in text)


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="the README's commands are curl's; it is not installed"
)
def test_the_three_curls_give_a_png_each(gateway: GatewayProcess, tmp_path: Path) -> None:
    script = block("bash", "curl").replace("http://127.0.0.1:8000", gateway.url)
    ended = subprocess.run(
        ["bash", "-eu"], input=script, cwd=tmp_path, text=True, capture_output=True, timeout=100
    )
    assert ended.returncode == 0, ended.stderr
    for name in ("first.png", "second.png", "third.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="the README's commands are curl's; it is not installed"
)
def test_an_account_and_a_key_as_pasted(gateway: GatewayProcess, tmp_path: Path) -> None:
    script = block("bash", "keys create").replace("http://127.0.0.1:8000", gateway.url)
    script = script.replace(".venv/bin/gateway", f"{sys.executable} -m gateway")
    ended = subprocess.run(
        ["bash", "-eu"],
        input=script,
        cwd=tmp_path,
        env=gateway.env,
        text=True,
        capture_output=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    account = json.loads(ended.stdout)
    assert (account["name"], account["balance"]["available"]) == ("Ann", 10)


def test_the_model_entry_is_good(tmp_path: Path) -> None:
    entry = block("yaml", "my-sdxl").removeprefix("models:\n")
    shipped = (ROOT / "registry" / "models.yaml").read_text()
    catalogue = parse_registry(shipped.replace("\nmodels:\n", f"\nmodels:\n{entry}", 1), "models.yaml")
    assert catalogue.models["my-sdxl"].routes[0].pipeline is not None


def test_every_route_of_the_readme_exists(gateway: GatewayProcess) -> None:
    paths = gateway.http.get("/schema/openapi.json").json()["paths"]
    known = {re.sub(r"\{\w+\}", "{}", path) for path in paths}
    named = set(re.findall(r"`(?:GET |POST |DELETE )?(/(?:api|images|diffusers|health)[^` ,;?]*)`", README))
    assert named
    for path in named:
        plain = re.sub(r"\{\w+\}", "{}", path)
        assert (
            plain in known or plain.removesuffix("/schema") in known or plain == "/api/templates/billboard"
        ), path
