"""What the loopback fal counts for a job: units that hold all that its price depends on, as fal's do."""

from decimal import Decimal
from typing import Any

from support.loopback_fal_schema import Endpoint
from support.loopback_fal_stations import is_vector

__all__ = ["COMPUTE_SECONDS", "units_of"]

COMPUTE_SECONDS = Decimal("0.5")
"""Of each picture, where that is the unit."""

# US dollars: the units of these endpoints. A size that is not here costs what the dearest does, or by the MP.
GPT = {
    "low": {"1024x1024": "0.009", "else": "0.013"},
    "medium": {"1024x1024": "0.034", "1536x1024": "0.050", "else": "0.051"},
    "high": {"1024x1024": "0.133", "1536x1024": "0.199", "else": "0.200"},
}
GPT_2 = {
    "low": {"1024x768": "0.005", "else": "0.006"},
    "medium": {"1024x768": "0.037", "else": "0.053"},
    "high": {"1024x768": "0.145", "else": "0.211"},
}
TIMES: dict[str, dict[str, dict[Any, str]]] = {
    "nano-banana-pro": {"resolution": {"4K": "2"}},
    "nano-banana-2": {"resolution": {"0.5K": "0.75", "2K": "1.5", "4K": "2"}},
    "ideogram": {"rendering_speed": {"TURBO": "0.5", "QUALITY": "1.5"}},
}
SEARCH = {
    "nano-banana-pro": Decimal("0.015") / Decimal("0.15"),
    "nano-banana-2": Decimal("0.015") / Decimal("0.08"),
}


def units_of(
    endpoint_id: str, endpoint: Endpoint, payload: dict[str, Any], width: int, height: int, count: int
) -> Decimal:
    """The units of so many pictures of one size."""
    megapixels = -(-width * height // (1 << 20))
    if "gpt-image" in endpoint_id:
        two = "gpt-image-2" in endpoint_id
        prices = (GPT_2 if two else GPT)[payload.get("quality", "high")]
        size = f"{width}x{height}"
        return (
            Decimal(prices.get(size, prices["else"]))
            * count
            * (megapixels if two and size not in prices else 1)
        )
    if "/fast-" in endpoint_id:
        return COMPUTE_SECONDS * count
    if not endpoint.per_image:
        return Decimal(megapixels * count)
    each = Decimal(2 if "recraft/v3" in endpoint_id and is_vector(endpoint_id, payload) else 1)
    for family, words in TIMES.items():
        if family in endpoint_id:
            for word, factors in words.items():
                each *= Decimal(factors.get(payload.get(word), "1"))
            if payload.get("enable_web_search"):
                each += SEARCH.get(family, Decimal(0))
    return each * count
