"""A model is added by YAML alone, while the gateway serves; a file that is wrong changes nothing."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess, until

pytestmark = pytest.mark.slow

LIBRARY = Path(str(resources.files("templates"))) / "library"
SHIPPED = resources.files("registry").joinpath("models.yaml").read_text("utf-8")
NEW = """
  tiny-night:
    description: The embedded model, for nights
    tasks: [text-to-image]
    aliases: [night]
    price: {per_image: "0.002"}
    routes:
      - provider: diffusers
        endpoint: embedded:mini
        dialect: diffusers-sd
        pipeline: {source: "embedded:mini", class: StableDiffusionPipeline, tier: local, dtype: float32}
        provider_cost: {per_image: "0"}
        size: {default: 256x256, min: 64, max: 1024}
"""
WITH_NEW = SHIPPED.replace("\nmodels:\n", "\nmodels:" + NEW, 1).replace(
    "\nintents:\n", "\nintents:\n  nights: {about: Nights, models: [tiny-night]}\n", 1
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text(SHIPPED)
    return path


@pytest.fixture
def gateway(file: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path / "data", GATEWAY_REGISTRY=str(file)).start()
    yield running
    running.check_books()
    running.close()


def reload(gateway: GatewayProcess) -> tuple[int, dict]:
    answer = gateway.http.post("/api/admin/registry/reload", json={})
    return answer.status_code, answer.json()


def test_a_model_of_yaml_alone_shows_everywhere(gateway: GatewayProcess, file: Path) -> None:
    assert gateway.http.get("/api/models/night").status_code == 404
    file.write_text(WITH_NEW)
    status, view = reload(gateway)
    assert (status, view["added"], view["removed"]) == (200, ["tiny-night"], [])
    assert view["version"] != view["before"]

    assert gateway.http.get("/api/models/night").json()["id"] == "tiny-night"
    document = gateway.http.get("/schema/openapi.json").json()
    assert "Generate.tiny-night" in document["components"]["schemas"]
    assert "nights" in [intent["id"] for intent in gateway.http.get("/api/intents").json()["intents"]]
    assert "tiny-night" in [model["id"] for model in gateway.http.get("/diffusers/models").json()["models"]]
    assert "tiny-night" in [model["id"] for model in json.loads(gateway.done("models", "--json"))["models"]]

    job = gateway.generate(
        {"intent": "nights", "inputs": {"prompt": "x", "size": "64x64", "steps": 2}}
    ).json()
    assert (job["status"], job["model"], job["cost"]) == ("completed", "tiny-night", 0.002)


def test_a_file_that_is_wrong_changes_nothing(gateway: GatewayProcess, file: Path) -> None:
    file.write_text(WITH_NEW.replace('per_image: "0.002"', "per_picture: 1"))
    status, problem = reload(gateway)
    assert (status, problem["code"]) == (422, "bad_registry")
    assert f"{file}:" in problem["detail"]
    assert "per_picture" in problem["detail"]
    assert "serves on" in problem["detail"]
    assert gateway.http.get("/api/models/night").status_code == 404
    assert gateway.generate({"inputs": {"prompt": "x", "size": "64x64", "steps": 2}}).status_code == 200


def test_a_template_that_changed_alone_shows_in_the_document(
    own_gateway: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    shutil.copytree(LIBRARY / "billboard", tmp_path / "mine" / "poster")
    running = own_gateway(GATEWAY_TEMPLATES_DIR=str(tmp_path / "mine")).start()
    assert "slogan" not in running.http.get("/schema/openapi.json").text
    row = tmp_path / "mine" / "poster" / "template.yaml"
    more = "variables:\n  slogan: {type: string, about: What it says below}\n"
    row.write_text(row.read_text().replace("variables:\n", more, 1))
    assert reload(running)[0] == 200
    assert "slogan" in running.http.get("/schema/openapi.json").text


def test_a_signal_does_the_same(gateway: GatewayProcess, file: Path) -> None:
    assert gateway.process is not None
    file.write_text("providers: {}\n")
    os.kill(gateway.process.pid, signal.SIGHUP)
    until("the log says why", lambda: "was not reloaded" in gateway.log.read_text())
    file.write_text(WITH_NEW)
    os.kill(gateway.process.pid, signal.SIGHUP)
    until("it is there", lambda: gateway.http.get("/api/models/night").status_code == 200)
    assert gateway.process.poll() is None
