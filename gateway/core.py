"""The gateway without HTTP: what every route and every command calls."""

import asyncio
import logging

from msgspec import Struct
from sqlalchemy import Connection

from gateway.accounts.office import Office
from gateway.accounts.operator import read_operator_key
from gateway.accounts.principals import OPERATOR, Gatekeeper, Principal
from gateway.accounts.rows import ensure_account, find_account
from gateway.admission import Admission
from gateway.ambient import Ambient
from gateway.db.engine import Database, open_database
from gateway.db.migrate import upgrade
from gateway.housekeeping import Housekeeper
from gateway.jobs import admit, queries, settle, store
from gateway.jobs.cadence import Cadence
from gateway.jobs.idempotency import Claim
from gateway.jobs.outliers import Outliers
from gateway.jobs.outputs import Collector
from gateway.jobs.records import ImageRow, JobRow
from gateway.jobs.runner import Runner
from gateway.jobs.tools import Tools
from gateway.links import Links
from gateway.media.library import open_library, sweep
from gateway.planning import Known, Plan, make_plan
from gateway.problems import Problem
from gateway.resends import Resends
from gateway.schemas import GenerateRequest, JobView
from gateway.secret import Signer, load_secrets
from gateway.settings import Settings
from gateway.storage import ImageStore, StorageError, open_store
from gateway.views import job_view
from gateway.webhooks import Webhooks, webhook_base
from providers.discovery import Providers
from providers.http import create_client
from providers.optimizer import PromptOptimizer, open_optimizer
from registry.catalog import Catalog
from registry.load import load_registry
from registry.schema import Route
from templates.engine import TemplateLibrary

__all__ = ["Core", "Parts", "prepare"]

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
    """Load and check everything, and bring the database up to date. Blocks.

    `gateway serve` calls it before it starts a server process, so that what is wrong stops the
    start with one message; the process calls it again for itself.

    Raises:
        RegistryError, TemplateError, DiscoveryError, OptimizerError, StorageError, DatabaseError: what
            is wrong.
    """
    catalog = Catalog(load_registry(settings.registry, markup=settings.markup))
    templates = TemplateLibrary.load(settings.templates_dir)
    providers = Providers(catalog.data.providers, settings.env, str(settings.data_dir))
    optimizer = open_optimizer(settings.optimizer, catalog.data.providers, settings.env, settings.fal_run_url)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(settings.data_dir / "tmp")
    images = open_store(settings.storage_url, settings.env)
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


class Core:
    """Everything that is open while the gateway runs.

    Built by `Core.open`, closed by `aclose`. Nothing at import, nothing global.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        parts: "Parts",
        db: Database,
        ambient: Ambient,
    ) -> None:
        self.settings = settings
        self.catalog = parts.catalog
        self.providers = parts.providers
        self.templates = parts.templates
        self.images = parts.images
        self.optimizer = parts.optimizer
        self.db = db
        self.ambient = ambient
        self.office = Office(settings, parts.secrets, db, ambient, self.release)
        self.accounts = self.office.accounts
        self.housekeeper = Housekeeper(db, ambient)
        ttl_s = settings.link_ttl_s if settings.auth == "required" else None
        self.links = Links(Signer(parts.secrets, "image"), settings.public_url, ambient, ttl_s)
        operator = read_operator_key(settings.data_dir)
        self.gatekeeper = Gatekeeper(
            db,
            ambient,
            open_to_all=settings.auth == "open",
            operator_key=None if operator is None else operator.key,
        )
        self.stopping = False
        self.admission = Admission(self)
        self.resends = Resends(self)
        self._client = create_client()
        collector = Collector(self.images, self._client)
        self.media = open_library(settings, self.images, db, ambient)
        self.outliers = Outliers(ambient.monotonic)
        self.cadence = Cadence()
        self.webhooks = Webhooks(Signer(parts.secrets, "webhook"), webhook_base(settings))
        self.runner = Runner(
            Tools(
                db=db,
                providers=self.providers,
                collector=collector,
                ambient=ambient,
                media=self.media,
                outliers=self.outliers,
                cadence=self.cadence,
                webhooks=self.webhooks,
            )
        )

    @classmethod
    async def open(
        cls, settings: Settings, ambient: Ambient | None = None, *, run_jobs: bool = True
    ) -> "Core":
        """Load the registry, bring the database up to date, resume what was left.

        Args:
            settings: the settings.
            ambient: time, ids and randomness.
            run_jobs: resume the jobs of the last run; a command that only keeps accounts does not.

        Raises:
            RegistryError, TemplateError, DatabaseError, StorageError, DiscoveryError: what is
                wrong, before anything is served.
        """
        ambient = ambient or Ambient()
        parts = await asyncio.to_thread(prepare, settings, ambient)
        db = open_database(settings.database_url)
        core = cls(settings=settings, parts=parts, db=db, ambient=ambient)
        at = ambient.now_ms()
        await db.write(
            lambda c: ensure_account(
                c, account_id=OPERATOR, name="local operator", postpaid=True, admin=True, at=at
            )
        )
        if run_jobs:
            await core._release_premium()
        resumed = await core.runner.resume() if run_jobs else 0
        if resumed:
            log.info("%d jobs of the last run are resumed", resumed)
        core.office.sender.start()
        core.housekeeper.start()
        return core

    def drain(self) -> None:
        """Take no more jobs, and answer those who wait for one now: the process is told to stop."""
        self.stopping = True
        self.runner.release()

    async def aclose(self) -> None:
        """Stop driving jobs, close what is open. Unended jobs are resumed at the next start."""
        self.drain()
        await self.runner.aclose(min(5.0, self.settings.shutdown_grace_s))
        await self.providers.aclose()
        await self._client.aclose()
        if self.optimizer is not None:
            await self.optimizer.aclose()
        self.media.close()
        await self.gatekeeper.aclose()
        await self.office.sender.aclose()
        await self.housekeeper.aclose()
        await self.resends.aclose()
        await self.db.aclose()

    # -- what callers do ----------------------------------------------------------------

    def plan(self, request: GenerateRequest, *, optimized: str | None = None) -> Plan:
        """Stations 4 to 8: nothing is spent or stored.

        Args:
            request: what is asked for.
            optimized: its prompt as a language model rewrote it.
        """
        return make_plan(
            self.catalog,
            self.providers,
            request,
            fresh_seed=self.ambient.seed(),
            known=Known(shut=self.outliers.shut, usual_s=self._usual_s),
            optimized=optimized,
        )

    def _usual_s(self, route: Route) -> float | None:
        """Seconds that a job of a route usually takes: as was seen here, else as the registry says."""
        typical = route.provider_cost.typical_seconds
        return self.cadence.usual_s(route.endpoint) or (None if typical is None else float(typical))

    async def generate(
        self,
        request: GenerateRequest,
        caller: Principal,
        wait_s: float,
        *,
        now: bool = False,
        claim: Claim | None = None,
    ) -> JobRow:
        """Let a request in and wait up to `wait_s` seconds for its end; the job, ended or not.

        Args:
            request: what is asked for.
            caller: who asks.
            wait_s: seconds.
            now: as in `Admission.submit`.
            claim: as in `Admission.submit`.

        Raises:
            Repeated, Problem, UnknownModel, InvalidInputs: as `Admission.submit`.
        """
        job_id = await self.admission.submit(request, caller, now=now, claim=claim)
        await self.runner.wait(job_id, wait_s)
        return await self.job(job_id, caller.account_id)

    async def release(self, account_id: str) -> None:
        """Run the jobs of an account that wait, now that it is premium."""
        at = self.ambient.now_ms()
        for job_id in await self.db.write(lambda c: admit.release_scheduled(c, account_id, at)):
            self.runner.start(job_id)

    async def _release_premium(self) -> None:
        """Run what waits of accounts that became premium just before the last process ended."""
        at = self.ambient.now_ms()

        def find(conn: Connection) -> list[str]:
            rows = (find_account(conn, account_id) for account_id in queries.waiting_accounts(conn))
            return [row.id for row in rows if row is not None and row.tier_at(at) == "premium"]

        for account_id in await self.db.read(find):
            await self.release(account_id)

    async def job(self, job_id: str, account_id: str | None) -> JobRow:
        """An account's job; anybody's, for an admin, when the account is None.

        Raises:
            Problem: `not_found`.
        """
        found = await self.db.read(lambda c: queries.find_job(c, job_id, account_id))
        if found is None:
            raise Problem("not_found", f"No job has the id {job_id!r}")
        return found

    async def cancel(self, job_id: str, account_id: str) -> JobRow:
        """Ask for a job's end; the job as it stands then. An ended job is no error."""
        at = self.ambient.now_ms()
        status = await self.db.write(lambda c: store.request_cancel(c, job_id, account_id, at))
        if status is None:
            raise Problem("not_found", f"No job has the id {job_id!r}")
        self.runner.cancel(job_id)
        await self.runner.wait(job_id, 5.0)
        return await self.job(job_id, account_id)

    async def adopt(self, job_id: str, request_id: str) -> JobRow:
        """Follow an unknown job from the id that its provider has for it; the job as it is then.

        Raises:
            Problem: `not_found`, `job_not_unknown`, `provider_not_configured`.
        """
        job = await self.job(job_id, None)
        lost = next((one for one in job.attempts if one.status == "unknown"), job.attempts[-1])
        route = job.admitted.candidates[lost.route_index].route
        unavailable = self.providers.unavailable(route)
        if unavailable is not None:
            raise Problem("provider_not_configured", unavailable.reason, setting=unavailable.setting)
        handle = self.providers.get(route.provider).handle_for(route, request_id)
        deadline_at = self.ambient.now_ms() + int(self.settings.job_timeout_s * 1000)
        if not await self.db.write(lambda c: settle.adopt(c, job_id, handle, deadline_at)):
            raise Problem(
                "job_not_unknown", f"{job_id} is {job.status}: nobody needs to say what became of it"
            )
        self.runner.start(job_id)
        return await self.job(job_id, None)

    async def fail_unknown(self, job_id: str) -> JobRow:
        """End an unknown job that its provider never took; the job as it is then.

        Raises:
            Problem: `not_found`, `job_not_unknown`.
        """
        job = await self.job(job_id, None)
        at = self.ambient.now_ms()
        if not await self.db.write(lambda c: settle.fail(c, job_id, at)):
            raise Problem(
                "job_not_unknown", f"{job_id} is {job.status}: nobody needs to say what became of it"
            )
        return await self.job(job_id, None)

    async def image(self, image_id: str, account_id: str | None) -> tuple[ImageRow, bytes]:
        """An account's picture and its bytes; anybody's when the account is None: a link said so.

        Raises:
            Problem: `not_found`, `storage_unavailable`.
        """
        row = await self.db.read(lambda c: queries.find_image(c, image_id, account_id))
        try:
            data = await self.images.get(row.storage_key) if row is not None else None
        except StorageError as error:
            log.error("a picture cannot be served: %s", error)
            detail = "The store does not give the picture now; ask for it again later"
            raise Problem("storage_unavailable", detail, retryable=True) from error
        if row is None or data is None:
            raise Problem("not_found", f"No picture has the id {image_id!r}")
        return row, data

    def view(self, job: JobRow) -> JobView:
        """A job as its owner sees it."""
        return job_view(job, self.runner.live(job.id), self.links.image)
