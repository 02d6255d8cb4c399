"""The gateway without HTTP: what every route and every command calls."""

import asyncio
import logging

from gateway import __version__
from gateway.accounts.money import Money
from gateway.accounts.office import Office
from gateway.accounts.operator import read_operator_key
from gateway.accounts.principals import OPERATOR, Gatekeeper, Principal
from gateway.accounts.rows import ensure_account
from gateway.accounts.waiting import premium_waiting
from gateway.admission import Admission
from gateway.ambient import Ambient
from gateway.books import Books
from gateway.cleaning import Cleaner, Keep
from gateway.controls import Affordable, wants_downgrade
from gateway.db.engine import Database, open_database
from gateway.delivery.office import DeliveryOffice
from gateway.faults import point
from gateway.housekeeping import EVERY_S, Housekeeper
from gateway.jobs import admit, queries, store
from gateway.jobs.cadence import Cadence
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.events import Events
from gateway.jobs.idempotency import Claim
from gateway.jobs.keeper import WORKER_EVERY_S, Keeper, adopt_all
from gateway.jobs.outliers import Outliers
from gateway.jobs.outputs import Collector
from gateway.jobs.progress import ProgressWriter
from gateway.jobs.records import UNDER_WAY, JobRow
from gateway.jobs.runner import Runner
from gateway.jobs.tools import Tools
from gateway.links import Links
from gateway.media.library import open_library
from gateway.observe import genai
from gateway.observe.bounds import bounds_of
from gateway.observe.collect import Figures
from gateway.observe.database import TimedDatabase
from gateway.observe.metrics import Metrics
from gateway.observe.tracing import OFF, Tracing, open_tracing
from gateway.parts import Parts, prepare
from gateway.planning import Known, Plan, make_plan
from gateway.previews import Previews
from gateway.problems import Problem
from gateway.readiness import WriteProbe
from gateway.resends import Resends
from gateway.roles import Role, role_of
from gateway.runs.desk import Runs
from gateway.schedule import turn_of
from gateway.schemas import EstimateView, GenerateRequest, JobView
from gateway.secret import Signer
from gateway.settings import Settings
from gateway.views import estimate_view, job_view
from gateway.webhooks import Webhooks, webhook_base
from providers.http import create_client

__all__ = ["Core"]

log = logging.getLogger(__name__)

LOOK_ELSEWHERE_S = 0.25
"""Between looks at a job that another process drives."""


class Core:
    """Everything that is open while the gateway runs.

    Built by `Core.open`, closed by `aclose`. Nothing at import, nothing global.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        parts: Parts,
        db: Database,
        ambient: Ambient,
        role: Role | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self.settings = settings
        self.tracing = tracing
        self.role = role or role_of(settings)
        """What this process is for."""
        self.catalog = parts.catalog
        self.providers = parts.providers
        self.templates = parts.templates
        self.images = parts.images
        self.optimizer = parts.optimizer
        self.metrics = Metrics(bounds_of(self))
        self.images.on_fault = self.metrics.storage_error
        db = TimedDatabase(db, self.metrics, ambient.monotonic)
        self.db: Database = db
        self.ambient = ambient
        ttl_s = settings.link_ttl_s if settings.auth == "required" else None
        self.links = Links(Signer(parts.secrets, "image"), settings.public_url, ambient, ttl_s)
        self.delivery = DeliveryOffice(
            settings,
            parts.secrets,
            db,
            ambient,
            self.images,
            self.links,
            self.view,
            self.metrics,
            tracing=tracing,
        )
        self.office = Office(settings, parts.secrets, db, ambient, self.release, self.delivery.wake)
        self.accounts = self.office.accounts
        self.money = Money(db, ambient)
        self.books = Books(db, ambient)
        keep = Keep(image_days=settings.image_days, upload_days=settings.upload_days)
        self.shared = settings.shared_database
        """Other processes may drive jobs of the same database."""
        cleaner = Cleaner(db, self.images, ambient, keep, alone=not self.shared)
        self.housekeeper = Housekeeper(db, ambient, cleaner)
        operator = read_operator_key(settings.data_dir)
        self.gatekeeper = Gatekeeper(
            db,
            ambient,
            open_to_all=settings.auth == "open",
            operator_key=None if operator is None else operator.key,
        )
        self.probe = WriteProbe(db, ambient)
        self.stopping = False
        self.admission = Admission(self)
        self.resends = Resends(self)
        self.runs = Runs(self)
        self.previews = Previews(self)
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
                templates=lambda: self.templates,
                tracing=tracing,
                ended=self._job_ended,
                metrics=self.metrics,
            ),
            at_once=settings.jobs_at_once,
            drives=self.role != "front",
        )
        every_s = WORKER_EVERY_S if self.role == "worker" else None
        self.keeper = Keeper(db, self.runner, shared=self.shared, every_s=every_s)
        self.events = Events(self)
        self.progress = ProgressWriter(
            db, ambient, lambda: self.runner.lives, owner=lambda: self.runner.owner
        )
        self.dispatcher = Dispatcher(
            db,
            ambient,
            self.providers,
            self.runner,
            most=settings.batch_side_by_side,
            shared=self.shared,
        )
        self.figures = Figures(self)

    @classmethod
    async def open(
        cls,
        settings: Settings,
        ambient: Ambient | None = None,
        *,
        run_jobs: bool = True,
        role: Role | None = None,
    ) -> "Core":
        """Load the registry, bring the database up to date, resume what was left.

        Args:
            settings: the settings.
            ambient: time, ids and randomness.
            run_jobs: resume the jobs of the last run; a command that only keeps accounts does not.
            role: what the process is for; as the settings say, when not given.

        Raises:
            RegistryError, TemplateError, DatabaseError, StorageError, DiscoveryError, TracingError: what
                is wrong, before anything is served.
        """
        ambient = ambient or Ambient()
        parts = await asyncio.to_thread(prepare, settings, ambient)
        db = open_database(settings.database_url)
        tracing = open_tracing(settings.env, version=__version__, instance=ambient.new_id("ins"))
        core = cls(settings=settings, parts=parts, db=db, ambient=ambient, role=role, tracing=tracing)
        at = ambient.now_ms()
        await db.write(
            lambda c: ensure_account(
                c, account_id=OPERATOR, name="local operator", postpaid=True, admin=True, at=at
            )
        )
        if core.role == "front":
            return core  # what follows is the workers'
        if run_jobs:
            await core._release_premium()
            resumed = await adopt_all(core.db, core.runner)
            if resumed:
                log.info("%d jobs that nobody drove go on here", resumed)
            core.keeper.start()
            core.dispatcher.start()
            # Not for a command that is done in a moment: it would wait for the end of it.
            core.housekeeper.add(core.books.duty, EVERY_S)
        core.delivery.start()
        core.housekeeper.start()
        core.progress.start()
        core.figures.start()
        return core

    def drain(self) -> None:
        """Take no more jobs, and answer those who wait for one now: the process is told to stop."""
        self.stopping = True
        self.keeper.drain()
        self.dispatcher.stop()
        self.runner.release()
        self.events.release()

    async def aclose(self) -> None:
        """Stop driving jobs, close what is open. Unended jobs are resumed at the next start."""
        self.drain()
        await self.keeper.aclose()
        await self.events.aclose()
        await self.progress.aclose()
        await self.dispatcher.aclose()
        await self.runner.aclose(min(5.0, self.settings.shutdown_grace_s))
        await self.providers.aclose()
        await self._client.aclose()
        if self.optimizer is not None:
            await self.optimizer.aclose()
        self.media.close()
        await self.gatekeeper.aclose()
        await self.delivery.aclose()
        await self.housekeeper.aclose()
        await self.probe.aclose()
        await self.resends.aclose()
        await self.figures.aclose()
        await self.db.aclose()
        # Last: what ends until here is told.
        await self.tracing.aclose(min(2.0, self.settings.shutdown_grace_s))

    def _job_ended(self) -> None:
        """A job has ended here: somebody may have to be told, and there is room for another."""
        self.delivery.wake()
        self.keeper.note_room()

    # -- what callers do ----------------------------------------------------------------

    def plan(
        self,
        request: GenerateRequest,
        *,
        optimized: str | None = None,
        percent_off: int = 0,
        price_list: str | None = None,
        affordable: Affordable | None = None,
    ) -> Plan:
        """Stations 4 to 8: nothing is spent or stored.

        Args:
            request: what is asked for.
            optimized: its prompt as a language model rewrote it.
            percent_off: of each price.
            price_list: by which the caller pays.
            affordable: of `affordable`.

        Raises:
            UnknownPriceList: the registry does not have that one.
            UnknownModel, InvalidInputs: as `make_plan`.
        """
        with self.tracing.span("plan") as span:
            found = make_plan(
                self.catalog,
                self.providers,
                request,
                fresh_seed=self.ambient.seed(),
                known=Known(shut=self.outliers.shut, usual_s=self.cadence.expected_s),
                optimized=optimized,
                percent_off=percent_off,
                price_list=price_list,
                affordable=affordable,
            )
            span.set(genai.MODEL, found.model.id)
            return found

    async def affordable(self, request: GenerateRequest, caller: Principal) -> Affordable | None:
        """What a caller has for a request that may be made smaller; None where nothing limits it, and for a
        request that may not: its hold decides.

        Raises:
            InvalidInputs: it says neither that it may nor that it may not.
        """
        if not wants_downgrade({"inputs": request.inputs, "options": request.options}):
            return None
        return await self.office.budgets.affordable(caller, request.user_id)

    async def estimate(self, request: GenerateRequest, caller: Principal) -> EstimateView:
        """What a request of this caller would cost and send. Spends nothing.

        Raises:
            Problem: `premium_required`, as it would be when it is sent.
            UnknownModel, InvalidInputs: as `plan`.
        """
        turn = turn_of(request, caller, self.settings, self.ambient.now_ms())
        affordable = await self.affordable(request, caller)
        plan = self.plan(
            request, percent_off=turn.percent_off, price_list=caller.price_list, affordable=affordable
        )
        return estimate_view(plan, turn.runs_at)

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
        return await self.wait(job_id, caller.account_id, wait_s)

    async def wait(self, job_id: str, account_id: str | None, seconds: float) -> JobRow:
        """Wait up to so many seconds for a job's end, whichever process drives it; the job as it is then.

        One that is scheduled or unknown is not waited for.

        Raises:
            Problem: `not_found`.
        """
        ends = self.ambient.monotonic() + seconds
        while True:
            await self.runner.wait(job_id, max(0.0, ends - self.ambient.monotonic()))
            found = await self.job(job_id, account_id)
            left = ends - self.ambient.monotonic()
            if found.status not in UNDER_WAY or left <= 0 or self.stopping:
                return found
            if not (self.shared or self.keeper.begun):
                return found  # nobody drives it
            await self.runner.pause(min(LOOK_ELSEWHERE_S, left))

    async def release(self, account_id: str) -> None:
        """Run the jobs of an account that wait, now that it is premium."""
        at = self.ambient.now_ms()
        for job_id in await self.db.write(lambda c: admit.release_scheduled(c, account_id, at)):
            self.runner.start(job_id)

    async def _release_premium(self) -> None:
        """Run what waits of accounts that became premium just before the last process ended."""
        at = self.ambient.now_ms()
        for account_id in await self.db.read(lambda c: premium_waiting(c, at)):
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
        point("cancel.committed")
        self.runner.cancel(job_id)
        self.delivery.wake()
        return await self.wait(job_id, account_id, 5.0)

    def view(self, job: JobRow) -> JobView:
        """A job as its owner sees it."""
        return job_view(job, self.runner.live(job.id), self.links.image)
