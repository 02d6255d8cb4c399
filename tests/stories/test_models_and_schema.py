"""Each model shows its own inputs: in the list, in the schema, on the page."""

import re

from support.gateway_process import GatewayProcess


def test_the_list_shows_each_models_own_inputs(gateway: GatewayProcess) -> None:
    models = {m["id"]: m for m in gateway.http.get("/api/models").json()["models"]}
    assert models["embedded-mini"]["available"]
    assert models["embedded-mini"]["price"] == {"per_image": 0, "round": "up", "currency": "USD"}
    assert not models["flux-dev"]["available"]
    assert "FAL_KEY" in models["flux-dev"]["unavailableBecause"]
    assert models["flux-dev"]["price"]["per_megapixel"] == 0.03
    assert models["face-swap"]["inputs"] == {"required": ["image_url", "target_image_url"], "optional": []}
    assert models["flux-lora"]["inputs"]["required"] == ["prompt", "lora_url"]
    assert models["zai-org/GLM-Image"]["parameters"]["width"]["multipleOf"] == 32
    assert "negative_prompt" not in models["zai-org/GLM-Image"]["parameters"]
    assert models["embedded-mini"]["parameters"]["num_inference_steps"]["maximum"] == 50


def test_one_model_by_id_by_alias_and_its_schema(gateway: GatewayProcess) -> None:
    by_id = gateway.http.get("/api/models/zai-org/GLM-Image").json()
    assert gateway.http.get("/api/models/glm-image").json() == by_id
    schema = gateway.http.get("/api/models/zai-org/GLM-Image/schema").json()
    assert schema["required"] == ["prompt"]
    assert schema["properties"] == by_id["parameters"]


def test_the_openapi_document_has_one_body_a_model(gateway: GatewayProcess) -> None:
    document = gateway.http.get("/schema/openapi.json").json()
    body = document["paths"]["/api/images/generate"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    mapping = body["discriminator"]["mapping"]
    models = gateway.http.get("/api/models").json()["models"]
    alive = [m for m in models if m["status"] != "retired"]
    assert mapping.keys() == {name for m in alive for name in (m["id"], *m["aliases"])}
    schemas = document["components"]["schemas"]
    flux = schemas[mapping["flux-lora"].rsplit("/", 1)[1]]
    inputs = flux["properties"]["inputs"]
    assert inputs["required"] == ["prompt"]
    assert inputs["anyOf"] == [{"required": ["lora_url"]}, {"required": ["loras"]}]
    assert "Problem" in schemas


def test_the_page_needs_no_network(gateway: GatewayProcess) -> None:
    page = gateway.http.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        answer = gateway.http.get(asset)
        assert answer.status_code == 200, asset
        assert answer.content


def test_the_intents_are_listed(gateway: GatewayProcess) -> None:
    answer = gateway.http.get("/api/intents").json()
    assert {"realistic", "text_heavy"} <= {intent["id"] for intent in answer["intents"]}
    assert answer["default"] == ["embedded-mini"]


def test_health_tells_no_configuration(gateway: GatewayProcess) -> None:
    assert gateway.http.get("/health/live").json() == {"status": "ok", "checks": {}}
    assert gateway.http.get("/health/ready").json() == {"status": "ok", "checks": {"database": "ok"}}
