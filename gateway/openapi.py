"""The OpenAPI document: Litestar's, with each model's own request built from the registry."""

import re
from decimal import Decimal
from typing import Any, get_args

import msgspec
from msgspec import Struct
from msgspec.json import schema_components

from gateway.accounts.budget_schemas import BudgetView
from gateway.accounts.money_schemas import MovedView
from gateway.accounts.schemas import BalanceView, KeyView, NewKeyView
from gateway.admin_schemas import AdminJobView
from gateway.answers import Operation, status_of
from gateway.billing_schemas import MONEY
from gateway.bodies import KEY_LENGTH
from gateway.controls import MOST_SECONDS
from gateway.delivery.asked import DeliveryRequest
from gateway.problems import MEDIA_TYPE, ProblemDocument
from gateway.runs.estimate import RunEstimateView
from gateway.schemas import (
    MOST_LISTED,
    EstimateView,
    JobView,
    QuoteView,
    RawRequest,
    Schedule,
    ScheduleView,
    StepView,
    TemplateRequest,
)
from gateway.template_openapi import describe_templates
from gateway.template_schemas import TemplateDetail, TemplateView
from registry.catalog import Catalog
from registry.jsonschema import model_schema
from registry.schema import Model
from templates.library import TemplateLibrary

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
STARTS_JOBS = ("/api/images/generate", "/diffusers/generate", "/api/templates", "/api/templates/{name}")
KEY = "apiKey"
KEY_SCHEME = {"type": "http", "scheme": "bearer", "description": "An API key: igw_..."}
GENERATE = ("/api/images/generate", "/api/images/estimate")
PICTURES = (("/images/{image_id}", "get"), ("/diffusers/generate", "post"))
STREAM = "/api/jobs/{job_id}/events"
PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/svg+xml")
PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer 202 with the job at once; `wait=N`: after N seconds (RFC 7240)",
    "schema": {"type": "string", "examples": ["respond-async", "wait=30"]},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request that is sent again with the same key makes no second job: it is answered with "
    "the first one's, as that is then. Kept 7 days, for each account apart; bare, or in double quotes. A "
    "request that is refused uses no key up",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_LENGTH,
        "pattern": "^[!-~]+$",
        "examples": ["7f5a1f0e-6a0b-4a53-9d2c-6b1f0a3c2d11"],
    },
}
REPLAYED = {
    "Idempotent-Replayed": {
        "description": "The job is an earlier, equal request's: this one made none",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


def complete_document(
    document: dict[str, Any],
    catalog: Catalog,
    templates: TemplateLibrary,
    diffusers: list[str],
    operations: dict[tuple[str, str], Operation],
    *,
    asks_for_keys: bool,
) -> dict[str, Any]:
    """Add what Litestar cannot know: the bodies, one schema a model, and the problems.

    Args:
        document: Litestar's document, as plain data; changed and returned.
        catalog: whose models have their schemas.
        templates: whose variables have theirs.
        diffusers: the ids that `/diffusers/generate` takes.
        operations: by path and method, in lower case, what its handler says of each.
        asks_for_keys: closed operations want a credential; in open mode they do not.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _struct(ProblemDocument, schemas)
    schemas["DeliveryRequest"] = _struct(DeliveryRequest, schemas)
    mapping = _names(catalog)
    for model in catalog.alive.values():
        schemas[mapping[model.id]] = _request(model, catalog)
    schemas["GenerateByIntent"] = _by_intent(catalog)
    refs = [REF.format(name=name) for name in (*mapping.values(), "GenerateByIntent")]
    body = {
        "oneOf": [{"$ref": ref} for ref in refs],
        "discriminator": {
            "propertyName": "model",
            "mapping": {
                spelling: REF.format(name=mapping[model.id])
                for model in catalog.alive.values()
                for spelling in (model.id, *model.aliases)
            },
        },
    }
    for path in GENERATE:
        _set_body(document, path, body, examples(catalog))
    raw = _struct(RawRequest, schemas)
    raw["properties"]["model_id"] = {"type": "string", "enum": diffusers}
    raw["properties"]["inputs"] = {"type": "string", "minLength": 1, "description": "The prompt"}
    first = next((m for m in catalog.data.default if m in diffusers), diffusers[0] if diffusers else "")
    _set_body(document, "/diffusers/generate", raw, {first: {"model_id": first, "inputs": SAMPLES["prompt"]}})
    _set_template_bodies(document, templates)
    for (path, method), known in operations.items():
        if known.body is not None:
            _set_body(document, path, _struct(known.body, schemas), {"example": known.example}, method)
    views: tuple[type[Struct], ...] = (
        JobView,
        AdminJobView,
        EstimateView,
        QuoteView,
        ScheduleView,
        BalanceView,
        BudgetView,
        KeyView,
        NewKeyView,
        MovedView,
        RunEstimateView,
        StepView,
        TemplateView,
        TemplateDetail,
        *MONEY,
    )
    named = {view.__name__: view for view in views} | {"Problem": ProblemDocument}
    # Not every one is in an answer of its own.
    for name in named.keys() & schemas.keys():
        _write_money(named[name], schemas[name])
    document["components"]["securitySchemes"] = {KEY: KEY_SCHEME}
    for path, method in PICTURES:
        binary = {"schema": {"type": "string", "format": "binary"}}
        document["paths"][path][method]["responses"]["200"]["content"] = dict.fromkeys(PICTURE_TYPES, binary)
    _stream(document["paths"][STREAM]["get"]["responses"])
    for path in STARTS_JOBS:
        _goes_on(document["paths"][path]["post"])
    for path, item in document["paths"].items():
        for method, operation in item.items():
            known = operations[path, method]
            _describe_forms(operation["responses"], known.also)
            _describe_problems(operation, known.codes)
            asks = known.closed and asks_for_keys
            operation["security"] = [{KEY: []}, *([{}] if known.by_link else [])] if asks else []
    return document


def examples(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """A request that each model accepts, the default's first: what the page offers to try."""
    order = [*catalog.data.default, *(m for m in catalog.alive if m not in catalog.data.default)]
    return {
        model: {
            "model": model,
            "inputs": {name: SAMPLES.get(name, "...") for name in catalog.models[model].required},
        }
        for model in order
    }


def _write_money(view: type[Struct], schema: dict[str, Any]) -> None:
    """A Decimal leaves as a JSON number; Litestar describes what its own encoder would write."""
    properties = schema["properties"]
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
    for model in catalog.alive:
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
            **_common(catalog),
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
            "intent": {"type": ["string", "null"], "examples": list(catalog.data.intents)},
            "inputs": {
                "type": "object",
                "required": ["prompt"],
                "properties": {"prompt": {"type": "string", "minLength": 1}},
            },
            **_common(catalog),
        },
    }


def _common(catalog: Catalog) -> dict[str, Any]:
    names = [spelling for model in catalog.alive.values() for spelling in (model.id, *model.aliases)]
    return {
        "options": {
            "type": "object",
            "description": "One namespace with inputs; also on_unsupported, max_cost, max_seconds and "
            "allow_downgrade",
            "properties": {
                "on_unsupported": {"enum": ["error", "warn", "drop", None]},
                "max_cost": {"type": ["number", "null"], "minimum": 0, "description": "US dollars"},
                "max_seconds": {"type": ["number", "null"], "minimum": 1, "maximum": MOST_SECONDS},
                "allow_downgrade": {
                    "type": ["boolean", "null"],
                    "description": "The nearest settings that max_cost, the balance and the budgets pay for, "
                    "in place of an error",
                },
            },
        },
        "fallbacks": {
            "type": ["array", "null"],
            "maxItems": MOST_LISTED,
            "items": {"enum": names},
            "description": "Models that serve when the first is not available or fails, in order",
        },
        "delivery": {
            "description": "How the job's end is told, beside the job's own page",
            "oneOf": [{"$ref": REF.format(name="DeliveryRequest")}, {"type": "null"}],
        },
        "userId": {
            "type": ["string", "null"],
            "description": "Your own end user, for reports; never an identity",
        },
        "schedule": {
            "enum": [*get_args(Schedule), None],
            "description": "At once, for premium accounts, or with others in the next batch window",
        },
    }


def _set_template_bodies(document: dict[str, Any], templates: TemplateLibrary) -> None:
    request = _struct(TemplateRequest, document["components"]["schemas"])
    for path, body, values in describe_templates(document, templates, request):
        _set_body(document, path, body, values)


def _struct(struct: type[Struct], schemas: dict[str, Any]) -> dict[str, Any]:
    """A struct's schema; what it refers to is added to the components."""
    (schema,), parts = schema_components([struct], ref_template=REF)
    schemas.update(parts)
    name = schema["$ref"].rsplit("/", 1)[1]
    found: dict[str, Any] = schemas.pop(name)
    return found


def _set_body(
    document: dict[str, Any],
    path: str,
    schema: dict[str, Any],
    values: dict[str, dict[str, Any]],
    method: str = "post",
) -> None:
    operation = document["paths"][path][method]
    shown = {name: {"summary": name, "value": value} for name, value in values.items()}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": shown}},
    }


EVENT = {
    "type": "object",
    "description": "One event of the stream",
    "properties": {
        "id": {"type": "string", "description": "Sent back as `Last-Event-ID`, the stream goes on after it"},
        "event": {"type": "string", "description": "status, progress, log, image or done"},
        "data": {"type": "string", "description": "JSON; that of `done` is the job"},
        "retry": {"type": "integer", "description": "Milliseconds until a client comes back"},
    },
}


def _stream(responses: dict[str, Any]) -> None:
    """Server-sent events; or nothing, for who has seen the last one."""
    responses["200"]["description"] = "Server-sent events: status, progress, log, image, done"
    responses["200"]["content"] = {"text/event-stream": {"schema": EVENT}}
    responses["204"] = {"description": "`Last-Event-ID` is that of `done`: nothing more comes"}


def _goes_on(operation: dict[str, Any]) -> None:
    """An operation that starts a job may be told not to wait, and answers what it has by then; and it
    may be called again.
    """
    operation.setdefault("parameters", []).extend((PREFER, IDEMPOTENCY_KEY))
    operation["responses"]["200"].setdefault("headers", {}).update(REPLAYED)
    operation["responses"]["202"] = {
        "description": "The job goes on; ask at Location",
        "headers": REPLAYED,
        "content": {"application/json": {"schema": {"$ref": REF.format(name="JobView")}}},
    }


def _describe_forms(responses: dict[str, Any], also: str | None) -> None:
    """What is answered in another form than JSON, and what without a body."""
    responses.get("204", {}).pop("content", None)
    if also is not None:
        responses["200"]["content"][also] = {"schema": {"type": "string"}}


def _describe_problems(operation: dict[str, Any], codes: tuple[str, ...]) -> None:
    """An answer for each status, with the codes that come with it."""
    responses = operation.setdefault("responses", {})
    responses.pop("400", None)  # Litestar's own
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(status_of(code), []).append(code)
    for status, found in sorted(by_status.items()):
        problem = {
            "allOf": [
                {"$ref": REF.format(name="Problem")},
                {"type": "object", "properties": {"code": {"enum": found}}},
            ]
        }
        answer = responses.setdefault(str(status), {"description": "A problem: " + ", ".join(found)})
        answer.setdefault("content", {})[MEDIA_TYPE] = {"schema": problem}
