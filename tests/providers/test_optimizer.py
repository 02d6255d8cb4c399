"""The language model that rewrites prompts, over real sockets: what it is asked, what is taken of its answers."""

import asyncio
from collections.abc import Iterator

import pytest
from support.loopback_fal_http import Reply, answer
from support.loopback_llm import KEY, LoopbackLlm, chat

from providers.optimizer import OptimizerError, OptimizerFailed, PromptOptimizer, open_optimizer
from registry.schema import PromptStyle, ProviderRow

STYLE = PromptStyle(about="plain", guide="Write plainly.")


@pytest.fixture
def llm() -> Iterator[LoopbackLlm]:
    with LoopbackLlm() as server:
        yield server
        assert server.violations == []


def rows(llm: LoopbackLlm) -> dict[str, ProviderRow]:
    return {
        "openai": ProviderRow(type="openai_compatible", base_url=f"{llm.url}/v1", key="THE_KEY"),
        "home": ProviderRow(type="openai_compatible", base_url=f"{llm.url}/v1"),
        "bare": ProviderRow(type="openai_compatible"),
        "fal": ProviderRow(type="fal", key="THE_KEY"),
        "diffusers": ProviderRow(type="diffusers_modal"),
    }


def opened(llm: LoopbackLlm, spec: str) -> PromptOptimizer:
    found = open_optimizer(spec, rows(llm), {"THE_KEY": KEY}, llm.url)
    assert found is not None
    return found


async def ask(llm: LoopbackLlm, spec: str = "openai:gpt-5-mini") -> str:
    optimizer = opened(llm, spec)
    try:
        return await optimizer.rewrite("a fox", STYLE)
    finally:
        await optimizer.aclose()


@pytest.mark.parametrize("spec", ["openai:gpt-5-mini", "fal:google/gemini-2.5-flash"])
async def test_a_prompt_comes_back(llm: LoopbackLlm, spec: str) -> None:
    assert await ask(llm, spec) == "A fox, rewritten."
    (asked,) = llm.asked
    assert (asked.model, asked.prompt) == (spec.partition(":")[2], "a fox")
    assert asked.system.endswith("Write plainly.")


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ('"A fox."', "A fox."),
        ('A "red" fox.', 'A "red" fox.'),
        ("```\nA fox.\n```", "A fox."),
        ("  A fox\n in snow. ", "A fox in snow."),
    ],
)
async def test_what_models_put_around_a_prompt_is_taken_off(llm: LoopbackLlm, said: str, prompt: str) -> None:
    llm.answers.append(chat(said))
    assert await ask(llm) == prompt


BROKEN = {
    "empty": chat(""),
    "null": chat(None),
    "no choice": answer(200, {"choices": []}),
    "too long": chat("x" * 4001),
    "no json": Reply(200, b"<html>", {}, "text/html"),
    "refused": answer(401, {"error": {"message": "no"}}),
    "broken": answer(500, {}),
    "reset": Reply(wire="reset"),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
async def test_no_prompt_is_a_failure(llm: LoopbackLlm, reply: Reply) -> None:
    llm.answers.append(reply)
    with pytest.raises(OptimizerFailed) as caught:
        await ask(llm)
    assert KEY not in str(caught.value)
    assert len(llm.requests) == 1


async def test_fals_own_error_is_a_failure(llm: LoopbackLlm) -> None:
    llm.answers.append(answer(200, {"output": "", "error": "no such model"}))
    with pytest.raises(OptimizerFailed):
        await ask(llm, "fal:google/gemini-2.5-flash")


async def test_one_that_says_nothing_is_not_waited_for(llm: LoopbackLlm) -> None:
    llm.answers.append(Reply(wire="silent"))
    optimizer = PromptOptimizer(
        f"{llm.url}/v1/chat/completions", f"Bearer {KEY}", "m", fal=False, timeout_s=0.2
    )
    with pytest.raises(OptimizerFailed, match="gave no answer"):
        async with asyncio.timeout(5):
            await optimizer.rewrite("a fox", STYLE)
    await optimizer.aclose()


async def test_a_server_at_home_needs_no_key(llm: LoopbackLlm) -> None:
    llm.key = ""
    assert await ask(llm, "home:llama") == "A fox, rewritten."


def test_without_a_setting_there_is_none(llm: LoopbackLlm) -> None:
    assert open_optimizer("", rows(llm), {}, llm.url) is None


@pytest.mark.parametrize(
    ("spec", "env", "said"),
    [
        ("nobody:gpt", {}, "openai, home, bare, fal"),
        ("openai", {}, "provider:model"),
        ("diffusers:sd", {}, "provider:model"),
        ("openai:gpt", {}, "set THE_KEY"),
        ("fal:x", {}, "set THE_KEY"),
        ("bare:x", {}, "no base_url"),
    ],
)
def test_what_cannot_be_used_says_what_to_set(
    llm: LoopbackLlm, spec: str, env: dict[str, str], said: str
) -> None:
    with pytest.raises(OptimizerError, match=said):
        open_optimizer(spec, rows(llm), env, llm.url)
