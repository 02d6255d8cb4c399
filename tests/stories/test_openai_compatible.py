"""OpenAI, and a server of one's own that speaks its Images API: registry entries and nothing else."""

import base64
import io
from collections.abc import Iterator
from importlib import resources

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.loopback_openai import KEY, LoopbackOpenAi, refused

pytestmark = pytest.mark.slow

HOME = """
  home-flux:
    description: FLUX on the machine in the cellar
    tasks: [text-to-image]
    price: {per_image: "0.01"}
    routes:
      - {provider: home, endpoint: flux.1-dev, dialect: openai-server, provider_cost: {per_image: "0"}}
"""


@pytest.fixture(scope="module")
def openai() -> Iterator[LoopbackOpenAi]:
    with LoopbackOpenAi() as server:
        yield server


@pytest.fixture(scope="module")
def home() -> Iterator[LoopbackOpenAi]:
    with LoopbackOpenAi(own=True) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    openai: LoopbackOpenAi, home: LoopbackOpenAi, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("openai")
    text = resources.files("registry").joinpath("models.yaml").read_text("utf-8")
    text = text.replace("https://api.openai.com/v1", openai.base_url)
    ours = f"\nproviders:\n  home: {{type: openai_compatible, base_url: '{home.base_url}'}}\n"
    text = text.replace("\nproviders:\n", ours, 1)
    text = text.replace("\nmodels:\n", "\nmodels:" + HOME, 1)
    (folder / "models.yaml").write_text(text)
    running = GatewayProcess(
        folder / "data", GATEWAY_REGISTRY=str(folder / "models.yaml"), OPENAI_API_KEY=KEY
    ).start()
    yield running
    running.check_books()
    running.close()


def size_of(gateway: GatewayProcess, url: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(gateway.http.get(url).content)).size


def test_the_seeds_name_leads_to_a_living_model(gateway: GatewayProcess, openai: LoopbackOpenAi) -> None:
    inputs = {"prompt": "a robot that paints itself", "quality": "low", "aspect_ratio": "3:2", "n": 2}
    job = gateway.generate({"model": "dalle-3-ultra", "inputs": inputs}).json()
    assert (job["status"], job["model"], job["cost"]) == ("completed", "gpt-image-1.5", 0.04)
    assert "alias" in job["routing"]["why"]
    assert [size_of(gateway, image["url"]) for image in job["images"]] == [(1536, 1024)] * 2
    asked = openai.asked[-1]
    assert (asked["model"], asked["size"], asked["n"], asked["quality"]) == (
        "gpt-image-1.5",
        "1536x1024",
        2,
        "low",
    )


def test_an_edit_with_a_mask(gateway: GatewayProcess, openai: LoopbackOpenAi) -> None:
    out = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(out, "PNG")
    url = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
    inputs = {"prompt": "a door", "image_url": url, "mask_url": url, "quality": "medium"}
    job = gateway.generate({"model": "gpt-image-1.5", "inputs": inputs}).json()
    assert job["status"] == "completed", job
    assert openai.asked[-1]["image[]"] == openai.asked[-1]["mask"] == [(96, 64)]


def test_a_server_of_ones_own(gateway: GatewayProcess, home: LoopbackOpenAi) -> None:
    inputs = {
        "prompt": "a cellar",
        "negative_prompt": "light",
        "size": "640x384",
        "steps": 4,
        "cfg": 3.5,
        "seed": 7,
    }
    job = gateway.generate({"model": "home-flux", "inputs": inputs}).json()
    assert (job["status"], job["cost"]) == ("completed", 0.01)
    assert size_of(gateway, job["imageUrl"]) == (640, 384)
    assert home.asked[-1] == {
        "model": "flux.1-dev", "prompt": "a cellar", "negative_prompt": "light", "size": "640x384", "n": 1,
        "num_inference_steps": 4, "guidance_scale": 3.5, "seed": 7, "response_format": "b64_json",
    }  # fmt: skip
    shown = gateway.http.get("/api/models/home-flux").json()
    assert shown["available"] is True


def test_a_refusal_costs_nothing(gateway: GatewayProcess, openai: LoopbackOpenAi) -> None:
    openai.faults = [refused(400, "rejected by the safety system", "moderation_blocked")]
    answer = gateway.generate({"model": "gpt-image-1.5", "inputs": {"prompt": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "content_policy")
    job = gateway.job(answer.json()["jobId"])
    assert (job["status"], job["cost"]) == ("failed", 0)
