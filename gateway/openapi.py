"""The OpenAPI document: Litestar's, with each model's own request built from the registry."""

import re
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.json import schema_components

from gateway.accounts.schemas import AccountRequest, BalanceView, KeyRequest, TopUpRequest
from gateway.problems import ProblemDocument
from gateway.schemas import (
    AdminJobView,
    AdoptRequest,
    EstimateView,
    FailRequest,
    JobView,
    QuoteView,
    RawRequest,
    TemplateRequest,
)
from registry.catalog import Catalog
from registry.jsonschema import model_schema
from registry.schema import Model
from templates.engine import TemplateLibrary

__all__ = ["complete_document"]

SAMPLES: dict[str, Any] = {
    "prompt": "a red circle on a white background",
    "image_url": "https://example.com/photo.jpg",
    "mask_url": "https://example.com/mask.png",
    "target_image_url": "https://example.com/face.jpg",
    "lora_url": "https://example.com/style.safetensors",
}
"""What the page shows for an input that a model requires."""

REF = "#/components/schemas/{name}"
STARTS_JOBS = ("/api/images/generate", "/diffusers/generate", "/api/templates/{name}")
KEY = "apiKey"
KEY_SCHEME = {"type": "http", "scheme": "bearer", "description": "An API key: igw_..."}
GENERATE = ("/api/images/generate", "/api/images/estimate")


OPERATORS_BODIES: tuple[tuple[str, type[Struct], dict[str, Any]], ...] = (
    ("/api/admin/jobs/{job_id}/adopt", AdoptRequest, {"requestId": "the provider's own id"}),
    ("/api/admin/jobs/{job_id}/fail", FailRequest, {}),
    ("/api/admin/accounts", AccountRequest, {"name": "Ann", "tier": "premium", "balance": 10}),
    ("/api/admin/accounts/{account_id}/keys", KeyRequest, {"name": "laptop", "expiresInDays": 90}),
    ("/api/admin/topup", TopUpRequest, {"accountId": "acc_...", "amount": 10, "reference": "payment 1"}),
)


def complete_document(
    document: dict[str, Any],
    catalog: Catalog,
    templates: TemplateLibrary,
    diffusers: list[str],
    closed: frozenset[tuple[str, str]],
) -> dict[str, Any]:
    """Add what Litestar cannot know: the bodies, one schema a model, and the problems.

    Args:
        document: Litestar's document, as plain data; changed and returned.
        catalog: whose models have their schemas.
        templates: whose variables have theirs.
        diffusers: the ids that `/diffusers/generate` takes.
        closed: path and method, in lower case, of each operation that an API key is required for.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _struct(ProblemDocument, schemas)
    mapping = _names(catalog)
    for model in catalog.models.values():
        schemas[mapping[model.id]] = _request(model, catalog)
    schemas["GenerateByIntent"] = _by_intent(catalog)
    refs = [REF.format(name=name) for name in (*mapping.values(), "GenerateByIntent")]
    body = {
        "oneOf": [{"$ref": ref} for ref in refs],
        "discriminator": {
            "propertyName": "model",
            "mapping": {
                spelling: REF.format(name=mapping[model.id])
                for model in catalog.models.values()
                for spelling in (model.id, *model.aliases)
            },
        },
    }
    for path in GENERATE:
        _set_body(document, path, body, examples(catalog))
    raw = _struct(RawRequest, schemas)
    raw["properties"]["model_id"] = {"type": "string", "enum": diffusers}
    first = next((m for m in catalog.data.default if m in diffusers), diffusers[0] if diffusers else "")
    _set_body(document, "/diffusers/generate", raw, {first: {"model_id": first, "inputs": SAMPLES["prompt"]}})
    _set_body(document, "/api/templates/{name}", _template_request(templates, schemas), _variables(templates))
    for path, struct, sample in OPERATORS_BODIES:
        _set_body(document, path, _struct(struct, schemas), {"example": sample})
    for view in (JobView, AdminJobView, EstimateView, QuoteView, BalanceView):
        _write_money(view, schemas)
    document["components"]["securitySchemes"] = {KEY: KEY_SCHEME}
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            _describe_problems(operation)
            operation["security"] = [{KEY: []}] if (path, method) in closed else []
            if "requestBody" in operation and path in STARTS_JOBS:
                operation["responses"]["202"] = {"description": "The job goes on; ask at Location"}
    return document


def examples(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """A request that each model accepts, the default's first: what the page offers to try."""
    order = [*catalog.data.default, *(m for m in catalog.models if m not in catalog.data.default)]
    return {
        model: {
            "model": model,
            "inputs": {name: SAMPLES.get(name, "...") for name in catalog.models[model].required},
        }
        for model in order
    }


def _variables(templates: TemplateLibrary) -> dict[str, dict[str, Any]]:
    return {
        name: {"variables": {v: "Winter Sale" for v, row in found.row.variables.items() if row.required}}
        for name, found in templates.templates.items()
    }


def _write_money(view: type[Struct], schemas: dict[str, Any]) -> None:
    """A Decimal leaves as a JSON number; Litestar describes what its own encoder would write."""
    properties = schemas.get(view.__name__, {}).get("properties", {})
    for field in msgspec.structs.fields(view):
        if field.type is Decimal:
            properties[field.encode_name] = {"type": "number"}
        elif field.type == Decimal | None:
            properties[field.encode_name] = {"type": ["number", "null"]}


def _names(catalog: Catalog) -> dict[str, str]:
    """A component for each model. Its name may hold letters, digits, dot, dash and underscore, so
    two ids can come to the same one.
    """
    names: dict[str, str] = {}
    for model in catalog.models:
        name = "Generate." + re.sub(r"[^A-Za-z0-9._-]", ".", model)
        while name in names.values():
            name += "_"
        names[model] = name
    return names


def _request(model: Model, catalog: Catalog) -> dict[str, Any]:
    return {
        "type": "object",
        "title": model.id,
        "description": model.description,
        "required": ["model", "inputs"],
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string", "enum": [model.id, *model.aliases]},
            "inputs": model_schema(model, catalog.vocabulary),
            **_common(),
        },
    }


def _by_intent(catalog: Catalog) -> dict[str, Any]:
    return {
        "type": "object",
        "title": "by intent",
        "description": "No model: the intent's best available one serves, or the default.",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "intent": {"type": "string", "examples": list(catalog.data.intents)},
            "inputs": {
                "type": "object",
                "required": ["prompt"],
                "properties": {"prompt": {"type": "string"}},
            },
            **_common(),
        },
    }


def _common() -> dict[str, Any]:
    return {
        "options": {
            "type": "object",
            "description": "One namespace with inputs; also on_unsupported",
            "properties": {"on_unsupported": {"type": "string", "enum": ["error", "warn", "drop"]}},
        },
        "userId": {"type": "string", "description": "Your own end user, for reports; never an identity"},
    }


def _template_request(templates: TemplateLibrary, schemas: dict[str, Any]) -> dict[str, Any]:
    body = _struct(TemplateRequest, schemas)
    variables = [
        {
            "title": template.name,
            "type": "object",
            "required": [name for name, v in template.row.variables.items() if v.required],
            "additionalProperties": False,
            "properties": {
                name: {"type": "string", "description": v.about}
                | ({"maxLength": v.max_length} if v.max_length else {})
                for name, v in template.row.variables.items()
            },
        }
        for template in templates.templates.values()
    ]
    body["properties"]["variables"] = {"anyOf": variables}
    return body


def _struct(struct: type[Struct], schemas: dict[str, Any]) -> dict[str, Any]:
    """A struct's schema; what it refers to is added to the components."""
    (schema,), parts = schema_components([struct], ref_template=REF)
    schemas.update(parts)
    name = schema["$ref"].rsplit("/", 1)[1]
    found: dict[str, Any] = schemas.pop(name)
    return found


def _set_body(
    document: dict[str, Any], path: str, schema: dict[str, Any], values: dict[str, dict[str, Any]]
) -> None:
    operation = document["paths"][path]["post"]
    shown = {name: {"summary": name, "value": value} for name, value in values.items()}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": shown}},
    }


def _describe_problems(operation: dict[str, Any]) -> None:
    problem = {"content": {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}}}
    responses = operation.setdefault("responses", {})
    responses.pop("400", None)
    responses["default"] = {"description": "A problem, with a stable code", **problem}
