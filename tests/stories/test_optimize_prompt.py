"""`optimize_prompt`: by the endpoint, by a language model, by rule; and a job never fails for it."""

from collections.abc import Callable, Iterator
from importlib import resources

import pytest
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal
from support.loopback_fal_http import answer
from support.loopback_llm import KEY, LoopbackLlm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def llm() -> Iterator[LoopbackLlm]:
    with LoopbackLlm() as server:
        yield server
        assert server.violations == []


@pytest.fixture(scope="module")
def gateway(
    fal: LoopbackFal, llm: LoopbackLlm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("optimizer")
    text = resources.files("registry").joinpath("models.yaml").read_text("utf-8")
    (folder / "models.yaml").write_text(text.replace("https://api.openai.com/v1", f"{llm.url}/v1"))
    running = GatewayProcess(
        folder / "data",
        GATEWAY_REGISTRY=str(folder / "models.yaml"),
        GATEWAY_OPTIMIZER="openai:gpt-5-mini",
        OPENAI_API_KEY=KEY,
        **fal.env(),
    ).start()
    yield running
    running.check_books()
    running.close()


def body(prompt: str, model: str = "flux-dev", **more: object) -> dict[str, object]:
    return {"model": model, "inputs": {"prompt": prompt, "size": "128x128", "optimize_prompt": True, **more}}


def test_a_language_model_rewrites_it(gateway: GatewayProcess, fal: LoopbackFal, llm: LoopbackLlm) -> None:
    job = gateway.generate(body("a thin fox")).json()
    assert job["revisedPrompt"] == "A thin fox, rewritten."
    assert [row["why"] for row in job["report"] if row["name"] == "optimize_prompt"] == [
        "rewritten by the optimizer"
    ]
    assert [row["requested"] for row in job["report"] if row["name"] == "prompt"] == ["a thin fox"]
    assert len(fal.invoices("A thin fox, rewritten.")) == 1
    assert "plain sentences" in llm.asked[-1].system
    assert gateway.job(job["jobId"])["revisedPrompt"] == "A thin fox, rewritten."


def test_its_failure_is_a_warning(gateway: GatewayProcess, fal: LoopbackFal, llm: LoopbackLlm) -> None:
    llm.answers.append(answer(500, {}))
    job = gateway.generate(body("a failing fox")).json()
    assert (job["status"], job["revisedPrompt"]) == ("completed", "A failing fox.")
    assert job["warnings"] == [
        "the prompt optimizer failed: it answered 500; the prompt was rewritten by rule"
    ]


def test_an_estimate_asks_nobody(gateway: GatewayProcess, llm: LoopbackLlm) -> None:
    before = len(llm.requests)
    estimate = gateway.http.post("/api/images/estimate", json=body("a free fox")).json()
    assert (estimate["revisedPrompt"], estimate["payload"]["prompt"]) == ("A free fox.", "A free fox.")
    assert len(llm.requests) == before


def test_the_endpoint_does_it_where_it_can(
    gateway: GatewayProcess, fal: LoopbackFal, llm: LoopbackLlm
) -> None:
    """And says what it drew."""
    before = len(llm.requests)
    job = gateway.generate(body("a proud fox", "flux-pro")).json()
    (invoice,) = fal.invoices("a proud fox")
    assert invoice.payload["enhance_prompt"] is True
    assert job["revisedPrompt"] == "a proud fox, in great detail"
    assert len(llm.requests) == before


def test_nothing_changes_unasked(gateway: GatewayProcess, fal: LoopbackFal, llm: LoopbackLlm) -> None:
    before = len(llm.requests)
    job = gateway.generate(
        {"model": "flux-dev", "inputs": {"prompt": "a plain fox", "size": "128x128"}}
    ).json()
    assert job["revisedPrompt"] is None
    assert len(fal.invoices("a plain fox")) == 1
    assert len(llm.requests) == before


def test_a_setting_that_cannot_be_used_stops_the_start(own_gateway: Callable[..., GatewayProcess]) -> None:
    ended = own_gateway(GATEWAY_OPTIMIZER="openai:gpt-5-mini").command("serve")
    assert ended.returncode == 1
    assert "needs the provider's key: set OPENAI_API_KEY" in ended.stderr
