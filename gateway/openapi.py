"""The OpenAPI document: Litestar's, with each model's own request built from the registry."""

import re
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from gateway.problems import ProblemDocument
from gateway.schemas import RawRequest, TemplateRequest
from registry.catalog import Catalog
from registry.jsonschema import model_schema
from registry.schema import Model
from templates.engine import TemplateLibrary

__all__ = ["complete_document"]

REF = "#/components/schemas/{name}"
ESTIMATE = "/api/images/estimate"
GENERATE = ("/api/images/generate", ESTIMATE)


def complete_document(
    document: dict[str, Any], catalog: Catalog, templates: TemplateLibrary, diffusers: list[str]
) -> dict[str, Any]:
    """Add what Litestar cannot know: the bodies, one schema a model, and the problems.

    Args:
        document: Litestar's document, as plain data; changed and returned.
        catalog: whose models have their schemas.
        templates: whose variables have theirs.
        diffusers: the ids that `/diffusers/generate` takes.
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
        _set_body(document, path, body)
    raw = _struct(RawRequest, schemas)
    raw["properties"]["model_id"] = {"type": "string", "enum": diffusers}
    _set_body(document, "/diffusers/generate", raw)
    _set_body(document, "/api/templates/{name}", _template_request(templates, schemas))
    for path, operations in document.get("paths", {}).items():
        for operation in operations.values():
            _describe_problems(operation)
            if "requestBody" in operation and path != ESTIMATE:
                operation["responses"]["202"] = {"description": "The job goes on; ask at Location"}
    return document


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


def _set_body(document: dict[str, Any], path: str, schema: dict[str, Any]) -> None:
    operation = document["paths"][path]["post"]
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}


def _describe_problems(operation: dict[str, Any]) -> None:
    problem = {"content": {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}}}
    responses = operation.setdefault("responses", {})
    responses.pop("400", None)
    responses["default"] = {"description": "A problem, with a stable code", **problem}
