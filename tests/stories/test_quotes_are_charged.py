"""What a request was quoted is what it is charged, for each row of the table that was worked out by hand; and what its
provider bills is what the registry says.
"""

import io
from typing import Any

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal
from support.quote_table import TABLE, with_uploads

pytestmark = pytest.mark.slow

HEADER = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
LORA = len(HEADER).to_bytes(8, "little") + HEADER + b"xy"
AT_FAL = [row for row in TABLE if row[2].startswith(("fal-ai/", "openai/"))]


@pytest.fixture(scope="module")
def uploads(paid: GatewayProcess) -> dict[str, str]:
    """By the names of the table, what is uploaded."""

    def send(data: bytes, kind: str) -> str:
        made = paid.http.post("/api/uploads", content=data, headers={"Content-Type": kind})
        assert made.status_code == 201, made.text
        return str(made.json()["url"])

    out = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(out, "PNG")
    picture, lora = send(out.getvalue(), "image/png"), send(LORA, "application/octet-stream")
    return {"upl_1": picture, "upl_2": lora, "upl_3": picture, "upl_4": picture}


@pytest.mark.parametrize(("model", "inputs", "endpoint", "size", "micros"), AT_FAL)
def test_the_charge_is_the_quote(
    model: str,
    inputs: dict[str, Any],
    endpoint: str,
    size: tuple[int, int] | None,
    micros: int,
    paid: GatewayProcess,
    fal: LoopbackFal,
    uploads: dict[str, str],
) -> None:
    known = with_uploads(inputs, uploads)
    required = paid.http.get(f"/api/models/{model}").json()["inputs"]["required"]
    body = {"model": model, "inputs": known | ({"prompt": f"row {micros}"} if "prompt" in required else {})}
    estimate = paid.http.post("/api/images/estimate", json=body).json()
    job = paid.generate(body).json()
    assert job["status"] == "completed", job
    assert (estimate["costMicros"], job["costMicros"]) == (micros, micros)
    assert fal.jobs[-1].endpoint == endpoint
    assert len(job["images"]) == inputs.get("n", 1)
    # What fal counted is what our list says, but for seconds, which no list knows.
    query = f"select provider_cost_micros, listed_cost_micros, billable_units from attempt where job_id = '{job['jobId']}'"
    for cost, listed, units in paid.query(query):
        assert (cost == listed, units is not None) == ("/fast-" not in endpoint, True)
