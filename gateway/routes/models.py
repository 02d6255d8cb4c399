"""`GET /api/models`, `GET /api/models/{id}`, `GET /api/models/{id}/schema`, `GET /api/intents`."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.core import Core
from gateway.problems import Problem
from gateway.schemas import ModelList, ModelView, json_response
from gateway.views import model_view
from registry.errors import UnknownModel
from registry.jsonschema import model_schema
from registry.schema import Model

__all__ = ["get_model", "list_intents", "list_models"]


@get("/api/models", summary="The models", tags=["Models"])
async def list_models(core: NamedDependency[Core]) -> Response[ModelList]:
    """Every model of the registry: what it takes, what it costs, whether it can be used now."""
    catalog = core.catalog
    views = (model_view(m, catalog.vocabulary, core.providers) for m in catalog.models.values())
    return json_response(ModelList(models=tuple(views)))


@get("/api/models/{model_id:path}", summary="A model", tags=["Models"])
async def get_model(model_id: FromPath[str], core: NamedDependency[Core]) -> Response[ModelView]:
    """One model, by id or alias; with `/schema` behind it, the JSON Schema of its inputs."""
    name = model_id.removeprefix("/")
    if name.endswith("/schema"):
        model = _find(core, name.removesuffix("/schema"))
        return json_response(model_schema(model, core.catalog.vocabulary))
    return json_response(model_view(_find(core, name), core.catalog.vocabulary, core.providers))


@get("/api/intents", summary="The intents", tags=["Models"])
async def list_intents(core: NamedDependency[Core]) -> dict[str, Any]:
    """Each intent, with the models that serve it, best first."""
    data = core.catalog.data
    intents = [
        {"id": name, "about": intent.about, "models": list(intent.models)}
        for name, intent in data.intents.items()
    ]
    return {"intents": intents, "default": list(data.default)}


def _find(core: Core, name: str) -> Model:
    try:
        return core.catalog.model(name)
    except UnknownModel as error:
        raise Problem("not_found", str(error), supported=list(error.supported)) from error
