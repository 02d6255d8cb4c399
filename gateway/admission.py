"""Letting a request in: who asks, how often, what it may cost; then its job, its hold and its start."""

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec import structs

from billing import ledger
from gateway import limits
from gateway.accounts.principals import OPERATOR, Principal
from gateway.jobs import admit
from gateway.jobs.idempotency import Claim
from gateway.jobs.records import Admitted, NewAttempt
from gateway.limits import Limit
from gateway.media.references import bring_references, shown_inputs
from gateway.network import network_of
from gateway.planning import Plan
from gateway.problems import Problem, too_many
from gateway.schemas import GenerateRequest
from providers.optimizer import OptimizerFailed

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
                `premium_required`, `too_many_requests`, `too_many_jobs`, `shutting_down`.
            UnknownModel, InvalidInputs: as `Core.plan`; also for a reference that cannot be fetched.
        """
        core = self._core
        if core.stopping:
            raise Problem(
                "shutting_down", "The gateway is stopping; send it again in a moment", retryable=True
            )
        waits = caller.tier != "premium"
        if waits and now:
            raise Problem(
                "premium_required",
                "This route answers the picture itself, and jobs of normal accounts wait for their turn. "
                "Use POST /api/images/generate, or become premium",
            )
        await self.count(caller)
        plan = core.plan(request)
        if plan.unavailable is not None:
            raise Problem(
                "provider_not_configured",
                f"{plan.model.id} cannot run: {plan.unavailable.reason}. "
                "Nothing was charged. `GET /api/models` shows what is available",
                setting=plan.unavailable.setting,
            )
        plan = await self._optimized(plan, request)
        candidates = await bring_references(
            core.media, plan.candidates, request, core.catalog.vocabulary, caller.account_id
        )
        plan = structs.replace(plan, candidates=candidates)
        new = self._new_job(plan, request, caller, claim, waits=waits)
        # A write may commit although its caller is gone: what starts the job must not hang on it.
        task = asyncio.create_task(self._admit(new, core.ambient.now_ms()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except ledger.InsufficientFunds as error:
            raise Problem("insufficient_funds", f"{error}. Nothing was charged") from error
        except admit.BudgetExhausted as error:
            raise Problem("budget_exhausted", f"{str(error).capitalize()}. Nothing was charged") from error
        except admit.TooManyJobs as error:
            raise Problem(
                "too_many_jobs",
                f"{str(error).capitalize()}. Send it again when one has ended, or cancel one",
                headers={"Retry-After": "5"},
                retryable=True,
            ) from error
        return new.id

    async def _optimized(self, plan: Plan, request: GenerateRequest) -> Plan:
        """The plan with its prompt rewritten by a language model, where one is set and the request asks.

        Its failure never fails the job: the prompt stays as the style's rules wrote it.
        """
        optimizer = self._core.optimizer
        prompt = request.inputs.get("prompt", request.options.get("prompt"))
        if optimizer is None or plan.style is None or not isinstance(prompt, str):
            return plan
        try:
            text = await optimizer.rewrite(prompt, plan.style)
        except OptimizerFailed as error:
            log.warning("the prompt optimizer failed: %s", error)
            warning = f"the prompt optimizer failed: {error}; the prompt was rewritten by rule"
            return structs.replace(plan, warnings=(*plan.warnings, warning))
        return self._core.plan(request, optimized=text)

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
        await self._core.db.write(lambda c: admit.admit(c, new, at))
        if new.status != "scheduled":
            self._core.runner.start(new.id)

    def _new_job(
        self, plan: Plan, request: GenerateRequest, caller: Principal, claim: Claim | None, *, waits: bool
    ) -> admit.NewJob:
        core, first = self._core, plan.candidates[0].route
        settings = core.settings
        most = settings.jobs_normal if waits else settings.jobs_premium
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
            status="scheduled" if waits else "queued",
            key_id=caller.key.id if caller.key else None,
            key_budget_micros=caller.key.budget_micros if caller.key else None,
            max_open=None if caller.account_id == OPERATOR else most,
            claim=claim,
        )
