"""What a gateway is made of beside its database: loaded and checked before anything is served."""

import logging

from msgspec import Struct

from gateway.ambient import Ambient
from gateway.db.migrate import check_schema, upgrade
from gateway.media.library import sweep
from gateway.observe.tracing import check_tracing
from gateway.secret import load_secrets
from gateway.settings import Settings
from gateway.storage import ImageStore, open_store
from providers.discovery import Providers
from providers.optimizer import PromptOptimizer, open_optimizer
from registry.catalog import Catalog
from registry.load import load_registry
from templates.library import TemplateLibrary

__all__ = ["Parts", "prepare"]

log = logging.getLogger(__name__)

# Alembic announces itself at every start; what it did is logged here.
logging.getLogger("alembic").setLevel(logging.WARNING)


class Parts(Struct, frozen=True, kw_only=True):
    """What a gateway is made of beside its database."""

    catalog: Catalog
    templates: TemplateLibrary
    providers: Providers
    images: ImageStore
    secrets: tuple[bytes, ...]
    optimizer: PromptOptimizer | None = None


def prepare(settings: Settings, ambient: Ambient) -> Parts:
    """Load and check everything, and bring the database up to date, unless that is a step of its own. Blocks.

    `gateway serve` calls it before it starts a server process, so that what is wrong stops the
    start with one message; the process calls it again for itself.

    Raises:
        RegistryError, TemplateError, DiscoveryError, OptimizerError, StorageError, DatabaseError,
            TracingError: what is wrong.
    """
    check_tracing(settings.env)
    catalog = Catalog(load_registry(settings.registry, markup=settings.markup))
    templates = TemplateLibrary.load(settings.templates_dir)
    providers = Providers(catalog.data.providers, settings.env, str(settings.data_dir))
    optimizer = open_optimizer(settings.optimizer, catalog.data.providers, settings.env, settings.fal_run_url)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(settings.data_dir / "tmp")
    images = open_store(settings.storage_url, settings.env)
    if settings.migrate == "step":
        check_schema(settings.database_url)
    else:
        upgraded = upgrade(settings.database_url, at=ambient.now_ms())
        if upgraded.backup is not None:
            log.info("the database was upgraded; its former state is kept in %s", upgraded.backup)
    secrets = load_secrets(settings.secrets, settings.data_dir, ambient)
    return Parts(
        catalog=catalog,
        templates=templates,
        providers=providers,
        images=images,
        secrets=secrets,
        optimizer=optimizer,
    )
