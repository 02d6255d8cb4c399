"""The registry anew while the gateway serves: all of it, or nothing of it."""

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.problems import Problem
from providers.discovery import DiscoveryError
from registry.catalog import Catalog
from registry.errors import RegistryError
from registry.load import load_registry
from templates.errors import TemplateError
from templates.library import TemplateLibrary

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["ReloadView", "reload_or_log", "reload_registry"]

log = logging.getLogger(__name__)


class ReloadView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a reload changed."""

    version: str
    """Of the registry that serves now."""
    before: str
    models: int
    added: tuple[str, ...]
    """Ids of models."""
    removed: tuple[str, ...]


async def reload_registry(core: "Core") -> ReloadView:
    """Read the registry and the templates again. Requests that come after it see the new ones; jobs
    under way end as they were planned.

    Raises:
        Problem: `bad_registry`: something is wrong with them, and the old ones serve on.
    """
    settings = core.settings

    def load() -> tuple[Catalog, TemplateLibrary]:
        catalog = Catalog(load_registry(settings.registry, markup=settings.markup))
        return catalog, TemplateLibrary.load(settings.templates_dir)

    before = core.catalog
    try:
        catalog, templates = await asyncio.to_thread(load)
        core.providers.adopt(catalog.data.providers)
    except (RegistryError, TemplateError, DiscoveryError) as error:
        raise Problem("bad_registry", f"{error}. The registry {before.version} serves on") from error
    # Nothing is awaited between these: no request sees one of them new and the other old.
    core.catalog, core.templates = catalog, templates
    log.info("the registry %s serves in place of %s", catalog.version, before.version)
    return ReloadView(
        version=catalog.version,
        before=before.version,
        models=len(catalog.models),
        added=tuple(sorted(catalog.models.keys() - before.models.keys())),
        removed=tuple(sorted(before.models.keys() - catalog.models.keys())),
    )


async def reload_or_log(core: "Core") -> None:
    """As `reload_registry`, for a signal: what is wrong goes to the log."""
    try:
        await reload_registry(core)
    except Problem as problem:
        log.error("the registry was not reloaded: %s", problem.document.detail)
