"""Letting a request in: who asks, how often, what it may cost; then its job, its hold and its start."""

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec import structs
from structlog.contextvars import bind_contextvars, get_contextvars

from billing import ledger
from billing.budgets import BudgetExhausted
from gateway import limits
from gateway.accounts.principals import OPERATOR, Principal
from gateway.controls import Affordable, wants_downgrade
from gateway.faults import point
from gateway.jobs import admit
from gateway.jobs.groups import group_key
from gateway.jobs.idempotency import Claim
from gateway.jobs.records import Admitted, NewAttempt
from gateway.limits import Limit
from gateway.media.expiry import MediaGone
from gateway.media.references import bring_references, keys_of, shown_inputs
from gateway.network import network_of
from gateway.observe import genai
from gateway.planning import Plan
from gateway.problems import Problem, too_many
from gateway.refusals import refusal
from gateway.requote import requoted
from gateway.schedule import Turn, turn_of
from gateway.schemas import GenerateRequest
from providers.optimizer import OptimizerFailed
from registry.errors import Fault, InvalidInputs, pointer

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["Admission"]

log = logging.getLogger(__name__)

# Requests that make jobs. What an account may have under way is limited besides.
PER_ACCOUNT = Limit(name="account", burst=120, per_s=10)
PER_KEY = Limit(name="key", burst=120, per_s=10)
PER_NETWORK = Limit(name="network", burst=240, per_s=20)


class Admission:
    """Lets requests in.

    Args:
        core: what it is let in to.
    """

    def __init__(self, core: "Core") -> None:
        self._core = core
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(
        self, request: GenerateRequest, caller: Principal, *, now: bool = False, claim: Claim | None = None
    ) -> str:
        """Let a request in and start its job, or let it wait for its turn; the job's id.

        Args:
            request: what is asked for.
            caller: who asks.
            now: it cannot wait for its turn: the answer is the picture itself.
            claim: what it is known by when it comes again.

        Raises:
            Repeated: it was let in before.
            Problem: `provider_not_configured`, `insufficient_funds`, `budget_exhausted`,
                `premium_required`, `too_many_requests`, `too_many_jobs`, `too_many_webhooks`,
                `shutting_down`.
            UnknownPriceList: the caller is to pay by one that the registry has no more.
            UnknownModel, InvalidInputs: as `Core.plan`; also for a reference that cannot be fetched, and
                for a delivery that cannot be made.
        """
        core = self._core
        self.check_open()
        turn = turn_of(request, caller, core.settings, core.ambient.now_ms(), now=now)
        await self.count(caller)
        affordable = await core.affordable(request, caller)
        plan = core.plan(
            request, percent_off=turn.percent_off, price_list=caller.price_list, affordable=affordable
        )
        if plan.unavailable is not None:
            raise Problem(
                "provider_not_configured",
                f"{plan.model.id} cannot run: {plan.unavailable.reason}. "
                "Nothing was charged. `GET /api/models` shows what is available",
                setting=plan.unavailable.setting,
            )
        delivery = await core.delivery.intake.accept(request.delivery, caller, waits=turn.waits)
        plan = await self._optimized(plan, request, caller, turn, affordable)
        with core.tracing.span("media"):
            candidates = await bring_references(
                core.media, plan.candidates, request, core.catalog.vocabulary, caller.account_id
            )
        plan = requoted(structs.replace(plan, candidates=candidates), request)
        new = self._new_job(plan, request, caller, turn, claim)
        new = structs.replace(new, delivery=delivery)
        try:
            await self.enter(new)
        except (ledger.InsufficientFunds, BudgetExhausted) as error:
            lowered = wants_downgrade({"inputs": request.inputs, "options": request.options})
            asked = plan.asked_micros if lowered else None
            raise refusal(error, core.ambient.now_ms(), lowered=lowered, asked=asked) from error
        return new.id

    async def enter(self, new: admit.NewJob) -> None:
        """Let a job in, and start it or let it wait.

        Raises:
            Repeated, InsufficientFunds, BudgetExhausted: as `admit.admit`.
            Problem: `too_many_jobs`.
            InvalidInputs: an upload of its is gone.
        """
        bind_contextvars(job_id=new.id)
        came_with = structs.replace(
            new.admitted,
            request_id=get_contextvars().get("request_id"),
            traceparent=self._core.tracing.traceparent(),
        )
        new = structs.replace(new, admitted=came_with)
        # A write may commit although its caller is gone: what starts the job must not hang on it.
        task = asyncio.create_task(self._admit(new, self._core.ambient.now_ms()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except admit.TooManyJobs as error:
            raise Problem(
                "too_many_jobs",
                f"{str(error).capitalize()}. Send it again when one has ended, or cancel one",
                headers={"Retry-After": "5"},
                retryable=True,
            ) from error
        except MediaGone as error:
            why = f"{error}; send it again"
            fault = Fault(pointer=pointer("inputs"), code="invalid_reference", message=why)
            raise InvalidInputs([fault]) from error

    def check_open(self) -> None:
        """See that the gateway is not about to stop.

        Raises:
            Problem: `shutting_down`.
        """
        if self._core.stopping:
            raise Problem(
                "shutting_down", "The gateway is stopping; send it again in a moment", retryable=True
            )

    async def _optimized(
        self,
        plan: Plan,
        request: GenerateRequest,
        caller: Principal,
        turn: Turn,
        affordable: Affordable | None,
    ) -> Plan:
        """The plan with its prompt rewritten by a language model, where one is set and the request asks.

        Its failure never fails the job: the prompt stays as the style's rules wrote it.
        """
        optimizer = self._core.optimizer
        prompt = request.inputs.get("prompt", request.options.get("prompt"))
        if optimizer is None or plan.style is None or not isinstance(prompt, str):
            return plan
        try:
            with self._core.tracing.span("optimize"):
                text = await optimizer.rewrite(prompt, plan.style)
        except OptimizerFailed as error:
            log.warning("the prompt optimizer failed: %s", error)
            warning = f"the prompt optimizer failed: {error}; the prompt was rewritten by rule"
            return structs.replace(plan, warnings=(*plan.warnings, warning))
        return self._core.plan(
            request,
            optimized=text,
            percent_off=turn.percent_off,
            price_list=caller.price_list,
            affordable=affordable,
        )

    async def count(self, caller: Principal) -> None:
        """Count a request against the limits of its account, key and network.

        Raises:
            Problem: `too_many_requests`.
        """
        if caller.account_id == OPERATOR:
            return
        whose = [(PER_ACCOUNT, caller.account_id), (PER_NETWORK, network_of(caller.address))]
        if caller.key is not None:
            whose.append((PER_KEY, caller.key.id))
        at = self._core.ambient.now_ms()
        taken = await self._core.db.write(
            lambda c: [limits.take(c, limit, whom, at) for limit, whom in whose]
        )
        refused = [one for one in taken if not one.allowed]
        if refused:
            raise too_many(max(refused, key=lambda one: one.retry_after_s), "requests")

    async def _admit(self, new: admit.NewJob, at: int) -> None:
        core = self._core
        with core.runner.places(1 if new.owner is not None else 0) as place:
            if not place:  # whoever has room for it adopts it
                new = structs.replace(new, owner=None)
            with core.tracing.span("admit", {genai.JOB: new.id, genai.MODEL: new.model}):
                await core.db.write(lambda c: admit.admit(c, new, at))
            point("admit.committed")
            if new.owner is not None:
                core.runner.start(new.id, fence=admit.FIRST_FENCE)
        if new.status == "scheduled":
            core.dispatcher.wake()
        elif new.owner is None:
            core.keeper.note_waiting()

    def most_open(self, caller: Principal) -> int | None:
        """How many jobs a caller's account may have at once; None: as many as it likes."""
        settings = self._core.settings
        most = settings.jobs_premium if caller.tier == "premium" else settings.jobs_normal
        return None if caller.account_id == OPERATOR else most

    def _new_job(
        self, plan: Plan, request: GenerateRequest, caller: Principal, turn: Turn, claim: Claim | None
    ) -> admit.NewJob:
        core, first = self._core, plan.candidates[0].route
        settings = core.settings
        return admit.NewJob(
            id=core.ambient.new_id("job") if claim is None else claim.job_id,
            account_id=caller.account_id,
            end_user=request.user_id,
            model=plan.model.id,
            registry_version=core.catalog.version,
            admitted=Admitted(
                inputs=shown_inputs(request.inputs),
                options=shown_inputs(request.options),
                candidates=plan.candidates,
                schedule=request.schedule,
                cost_now_micros=plan.full_micros if turn.waits else None,
            ),
            report=plan.report,
            warnings=plan.warnings,
            routing=plan.routing,
            quote_micros=plan.quote.price_micros,
            ceiling_micros=plan.quote.ceiling_micros,
            deadline_at=core.ambient.now_ms()
            + int(min(settings.job_timeout_s, plan.max_seconds or settings.job_timeout_s) * 1000),
            attempt=NewAttempt(
                id=core.ambient.new_id("att"),
                number=1,
                candidate=0,
                call=0,
                provider=first.provider,
                endpoint=first.endpoint,
            ),
            status="scheduled" if turn.waits else "queued",
            owner=None if turn.waits else core.runner.owner,
            runs_at=turn.runs_at,
            group_key=group_key(plan.candidates) if turn.waits else None,
            key_id=caller.key.id if caller.key else None,
            max_open=self.most_open(caller),
            media_keys=keys_of(plan.candidates),
            claim=claim,
        )
