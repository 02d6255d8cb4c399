"""fal's lists on loopback: its platform API and its public documents, over real sockets and strict.

with LoopbackPlatform() as fal:
    fal.documents["fal-ai/flux/dev"]["components"]...     # change what fal says
    del fal.documents["fal-ai/esrgan"]                    # fal has it no more
    ...
    assert fal.violations == []                           # what the client did against the API
"""

from copy import deepcopy
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from support.loopback_fal import ENDPOINTS, KEY
from support.loopback_fal_faults import said
from support.loopback_fal_http import HttpServer, Reply, Request, answer
from support.loopback_fal_openapi import document

__all__ = ["PRICES", "LoopbackPlatform", "input_of"]

# What fal bills, in fal's own units, each spelled as one of its pages does (2026-03 to 2026-08). The one
# that is missing has no price in what we know.
PRICES = {
    "fal-ai/flux/dev": ("0.025", "megapixels"),
    "fal-ai/flux/dev/image-to-image": ("0.025", "megapixels"),
    "fal-ai/flux/schnell": ("0.003", "megapixel"),
    "fal-ai/flux-lora": ("0.035", "megapixels"),
    "fal-ai/flux-lora/image-to-image": ("0.035", "megapixels"),
    "fal-ai/flux-lora/inpainting": ("0.035", "megapixels"),
    "fal-ai/flux-pro/v1.1": ("0.04", "megapixels"),
    "fal-ai/flux-pro/v1.1-ultra": ("0.06", "images"),
    "fal-ai/flux-pro/kontext": ("0.04", "image"),
    "fal-ai/flux-pro/kontext/max": ("0.08", "images"),
    "fal-ai/flux-2": ("0.012", "megapixels"),
    "fal-ai/flux-2-pro": ("0.03", "megapixels"),
    "fal-ai/flux-2-pro/edit": ("0.03", "processed megapixels"),
    "fal-ai/ideogram/v3": ("0.06", "images"),
    "fal-ai/nano-banana": ("0.0398", "images"),
    "fal-ai/nano-banana/edit": ("0.0398", "images"),
    "fal-ai/nano-banana-pro": ("0.15", "images"),
    "fal-ai/nano-banana-pro/edit": ("0.15", "images"),
    "fal-ai/nano-banana-2": ("0.08", "images"),
    "fal-ai/nano-banana-2/edit": ("0.08", "images"),
    "fal-ai/gpt-image-1.5": ("1", "units"),
    "fal-ai/gpt-image-1.5/edit": ("1", "units"),
    "openai/gpt-image-2": ("1", "units"),
    "openai/gpt-image-2/edit": ("1", "units"),
    "fal-ai/recraft/v3/text-to-image": ("0.04", "images"),
    "fal-ai/recraft/v4/text-to-vector": ("0.08", "images"),
    "fal-ai/qwen-image": ("0.02", "megapixels"),
    "fal-ai/bytedance/seedream/v4/text-to-image": ("0.03", "images"),
    "fal-ai/bytedance/seedream/v4/edit": ("0.03", "images"),
    "fal-ai/stable-diffusion-v35-large": ("0.065", "megapixels"),
    "fal-ai/fast-sdxl": ("0.00125", "compute seconds"),
    "fal-ai/fast-lightning-sdxl": ("0.00125", "compute seconds"),
    "fal-ai/topaz/upscale/image": ("0.08", "images"),
    "fal-ai/bria/background/remove": ("0.018", "images"),
    "fal-ai/face-swap": ("0.001", "images"),
}
PLATFORM, DOCUMENTS = "/v1", "/api/openapi"
MOST_IDS = 50


@cache
def _all_documents() -> dict[str, Any]:
    return {endpoint: document(endpoint) for endpoint in ENDPOINTS}


def input_of(written: dict[str, Any]) -> dict[str, Any]:
    """The schema of a document's input, to be changed."""
    schemas = written["components"]["schemas"]
    return next(schema for name, schema in schemas.items() if name.endswith("Input"))


class LoopbackPlatform(HttpServer):
    """fal's lists. Each test has its own copy of them.

    Args:
        page: entries of a list's page; more have to be asked for by its cursor.
    """

    def __init__(self, *, page: int = 1000) -> None:
        super().__init__()
        self.page = page
        self.documents: dict[str, Any] = deepcopy(_all_documents())
        """By endpoint; an endpoint that is not here is one that fal does not have."""
        self.prices = dict(PRICES)
        self.currency = "USD"
        self.status: dict[str, str] = {}
        self.not_listed: set[str] = set()
        """Endpoints whose document is not in the platform's reply, but in public all the same."""
        self.unknown_is_404 = False
        self.replies: dict[str, Reply] = {}
        """What is answered to a path, whatever was asked."""
        self.requests: list[Request] = []
        self.violations: list[str] = []

    def env(self, key: str = KEY) -> dict[str, str]:
        """The environment that makes a gateway ask this fal."""
        return {
            "FAL_KEY": key,
            "FAL_PLATFORM_URL": self.url + PLATFORM,
            "FAL_OPENAPI_URL": self.url + DOCUMENTS,
        }

    def bill(self, endpoint: str, amount: str, unit: str) -> None:
        """Let an endpoint cost something else."""
        self.prices[endpoint] = (amount, unit)

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        if request.method != "GET" or request.body:
            self._wrong(request, "is no GET without a body")
        if request.path in self.replies:
            return self.replies[request.path]
        if request.path == f"{DOCUMENTS}/queue/openapi.json":
            return self._document(request)
        if request.path in (f"{PLATFORM}/models", f"{PLATFORM}/models/pricing"):
            if request.headers.get("authorization") != f"Key {KEY}":
                return said(401, "Authentication is required", error_type="authorization_error")
            return self._prices(request) if request.path.endswith("pricing") else self._models(request)
        self._wrong(request, "is no path of fal's")
        return said(404, "Not found")

    def _wrong(self, request: Request, what: str) -> None:
        self.violations.append(f"{request.method} {request.target} {what}")

    def _document(self, request: Request) -> Reply:
        if "authorization" in request.headers:
            self._wrong(request, "shows the key to a public page")
        if set(request.query) != {"endpoint_id"} or len(request.query["endpoint_id"]) != 1:
            self._wrong(request, "does not ask for one endpoint")
        found = self.documents.get(request.query["endpoint_id"][0])
        return answer(200, found) if found is not None else said(404, "Not found")

    def _models(self, request: Request) -> Reply:
        query = request.query
        asked = query.get("endpoint_id", [])
        if set(query) - {"cursor"} != {"endpoint_id", "expand"} or query["expand"] != ["openapi-3.0"]:
            self._wrong(request, "is not how models are asked for")
        rows = [self._row(name) for name in self._asked(request, asked)]
        return self._listed(request, "models", rows, asked)

    def _row(self, name: str) -> dict[str, Any]:
        hidden = {"error": {"code": "not_ready", "message": "no document"}}
        written = hidden if name in self.not_listed else self.documents[name]
        category = self.documents[name].get("info", {}).get("x-fal-metadata", {}).get("category", "")
        metadata = {
            "display_name": name.rpartition("/")[2].title(),
            "category": category,
            "status": self.status.get(name, "active"),
            "tags": [],
        }
        return {"endpoint_id": name, "metadata": metadata, "openapi": written}

    def _prices(self, request: Request) -> Reply:
        query = request.query
        if set(query) - {"cursor"} != {"endpoint_id"} or len(query["endpoint_id"]) != 1:
            self._wrong(request, "is not how prices are asked for")
        asked = query["endpoint_id"][0].split(",")
        rows = [
            {
                "endpoint_id": name,
                "unit_price": Decimal(self.prices[name][0]),
                "unit": self.prices[name][1],
                "currency": self.currency,
            }
            for name in self._asked(request, asked)
            if name in self.prices
        ]
        return self._listed(request, "prices", rows, asked)

    def _asked(self, request: Request, asked: list[str]) -> list[str]:
        if not 1 <= len(asked) <= MOST_IDS or len(set(asked)) != len(asked):
            self._wrong(request, f"names {len(asked)} endpoints, or one twice")
        return [name for name in asked if name in self.documents]

    def _listed(self, request: Request, name: str, rows: list[Any], asked: list[str]) -> Reply:
        if self.unknown_is_404 and any(one not in self.documents for one in asked):
            return said(404, "Not found", error_type="not_found")
        start = int(request.query.get("cursor", ["0"])[0])
        more = start + self.page < len(rows)
        cursor = str(start + self.page) if more else None
        value = {name: rows[start : start + self.page], "has_more": more, "next_cursor": cursor}
        return Reply(200, msgspec.json.Encoder(decimal_format="number").encode(value))
