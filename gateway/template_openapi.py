"""Templates in the OpenAPI document: what each one takes, from its folder."""

import re
from typing import Any

from templates.engine import Template
from templates.formats import CONTENT_TYPES
from templates.library import TemplateLibrary

__all__ = ["Body", "describe_templates"]

REF = "#/components/schemas/{name}"
BY_PATH = ("/api/templates/{name}", "/api/templates/{name}/estimate", "/api/templates/{name}/preview")
PREVIEW = "/api/templates/{name}/preview"
BY_NAME = "/api/templates"
THUMBNAIL = "/api/templates/{name}/thumbnail"
SAMPLES: dict[str, Any] = {
    "string": "Winter Sale",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "image": "https://example.com/photo.jpg",
    "lora": "https://example.com/style.safetensors",
    "color": "#0b5fff",
    "money": "19.99",
    "date": "2026-12-24",
    "locale": "en",
    "currency": "EUR",
}
"""What the page shows for a variable that the template's own sample does not have."""
Body = tuple[str, dict[str, Any], dict[str, dict[str, Any]]]
"""A path, the schema of what is posted there, and what it takes by name."""


def describe_templates(
    document: dict[str, Any], templates: TemplateLibrary, request: dict[str, Any]
) -> list[Body]:
    """The bodies of what runs templates; each one's variables, and its whole request, become components.

    Args:
        document: changed: its components, and what answers pictures.
        templates: whose variables are shown.
        request: the schema of `TemplateRequest`.
    """
    schemas = document["components"]["schemas"]
    names = _names(templates)
    for template in templates.templates.values():
        schemas[f"Variables.{names[template.name]}"] = {
            "title": template.name,
            "description": template.row.description,
            **template.schema,
        }
        schemas[f"Template.{names[template.name]}"] = _request(template, names[template.name], request)
    _describe_thumbnail(document["paths"][THUMBNAIL]["get"]["responses"])
    _describe_preview(document["paths"][PREVIEW]["post"]["responses"]["200"])
    for path, item in document["paths"].items():
        if path.startswith(f"{BY_NAME}/"):
            _name_them(item, list(names))
    variables = [{"$ref": REF.format(name=f"Variables.{name}")} for name in names.values()]
    by_path = {**request, "properties": {**request["properties"], "variables": {"anyOf": variables}}}
    examples = {name: {"variables": example_of(template)} for name, template in templates.templates.items()}
    named = {name: {"template": name, **example} for name, example in examples.items()}
    return [*((path, by_path, examples) for path in BY_PATH), (BY_NAME, _by_name(names), named)]


def example_of(template: Template) -> dict[str, Any]:
    """Variables that the template takes: those that it requires, and no picture of its folder."""
    row = template.row
    return {
        name: SAMPLES[variable.type]
        if variable.type == "image"
        else row.sample.get(name, SAMPLES[variable.type])
        for name, variable in row.variables.items()
        if variable.required
    }


def _by_name(names: dict[str, str]) -> dict[str, Any]:
    refs = {name: REF.format(name=f"Template.{component}") for name, component in names.items()}
    return {
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "template", "mapping": refs},
    }


def _request(template: Template, component: str, request: dict[str, Any]) -> dict[str, Any]:
    """What `POST /api/templates` takes for one template."""
    needs_variables = any(variable.required for variable in template.row.variables.values())
    return {
        **request,
        "title": template.row.title,
        "description": template.row.description,
        "required": ["template", *(["variables"] if needs_variables else [])],
        "properties": {
            **request["properties"],
            "template": {"type": "string", "enum": [template.name]},
            "variables": {"$ref": REF.format(name=f"Variables.{component}")},
        },
    }


def _names(templates: TemplateLibrary) -> dict[str, str]:
    """What is behind the dot of each one's components; a folder may have any name, these may not."""
    names: dict[str, str] = {}
    for template in templates.templates:
        name = re.sub(r"[^A-Za-z0-9._-]", ".", template)
        while name in names.values():
            name += "_"
        names[template] = name
    return names


def _describe_thumbnail(responses: dict[str, Any]) -> None:
    responses["200"]["content"] = {"image/webp": {"schema": {"type": "string", "format": "binary"}}}
    responses["304"] = {"description": "It is still the one whose ETag `If-None-Match` has"}


def _describe_preview(answer: dict[str, Any]) -> None:
    """All outputs as JSON, or the file of one."""
    shown = next(iter(answer["content"].values()))
    files = {"schema": {"type": "string", "format": "binary"}}
    answer["content"] = {"application/json": shown, **dict.fromkeys(CONTENT_TYPES.values(), files)}


def _name_them(item: dict[str, Any], names: list[str]) -> None:
    """Say which names there are, at each operation of a path that takes one."""
    for operation in item.values():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                parameter["schema"] = {"type": "string", "enum": names}
