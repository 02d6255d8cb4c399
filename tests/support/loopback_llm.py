"""A language model on loopback: OpenAI's chat completions and fal's any-llm, over a real socket."""

from collections import deque
from typing import Any, NamedTuple

from support.loopback_fal_http import HttpServer, Reply, Request, answer

__all__ = ["KEY", "Asked", "LoopbackLlm", "chat"]

KEY = "llm-loopback-key"
MEMBERS = {
    "/v1/chat/completions": {"model", "messages"},
    "/fal-ai/any-llm": {"model", "system_prompt", "prompt"},
}
SCHEMES = {"/v1/chat/completions": "Bearer", "/fal-ai/any-llm": "Key"}


class Asked(NamedTuple):
    """One question."""

    model: str
    system: str
    prompt: str


def chat(content: str | None) -> Reply:
    """An answer of chat completions."""
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return answer(200, {"id": "c", "object": "chat.completion", "choices": [choice], "usage": {}})


class LoopbackLlm(HttpServer):
    """Puts a prompt into a sentence. What `answers` holds is said first."""

    def __init__(self) -> None:
        super().__init__()
        self.key = KEY
        self.asked: list[Asked] = []
        self.requests: list[Request] = []
        self.answers: deque[Reply] = deque()
        self.violations: list[str] = []

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        if request.method != "POST" or request.path not in MEMBERS:
            return answer(404, {"error": "not found"})
        given = request.headers.get("authorization")
        if given != (f"{SCHEMES[request.path]} {self.key}" if self.key else None):
            return answer(401, {"error": {"message": "bad key"}})
        body: dict[str, Any] = request.json()
        if body.keys() != MEMBERS[request.path]:
            self.violations.append(f"members {sorted(body)}")
        if self.answers:
            return self.answers.popleft()
        if "messages" in body:
            first, second = body["messages"]
            if (first["role"], second["role"]) != ("system", "user"):
                self.violations.append("roles")
            self.asked.append(Asked(body["model"], first["content"], second["content"]))
        else:
            self.asked.append(Asked(body["model"], body["system_prompt"], body["prompt"]))
        said = f"{self.asked[-1].prompt.capitalize()}, rewritten."
        return (
            chat(said)
            if "messages" in body
            else answer(200, {"output": said, "partial": False, "error": None})
        )
