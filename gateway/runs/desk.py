"""Runs of templates: what one would cost, and letting it in."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import structs

from billing.budgets import BudgetExhausted
from billing.ledger import InsufficientFunds
from gateway.accounts.principals import Principal
from gateway.jobs.admit import NewJob
from gateway.jobs.idempotency import Claim
from gateway.jobs.records import Admitted, JobRow
from gateway.media.errors import MediaRefused
from gateway.media.library import LIMITS
from gateway.media.references import bring_references, keys_of, shown_inputs
from gateway.problems import Problem
from gateway.refusals import refusal
from gateway.requote import requoted
from gateway.runs.compose import check_layout, product_of
from gateway.runs.plan import RunPlan, StepPlan, of_variables, plan_run, refused, totals
from gateway.runs.records import RunRecord, model_of
from gateway.schedule import Turn, turn_of
from gateway.schemas import GenerateRequest, TemplateRequest
from providers.base import MediaRef
from registry.errors import Fault, InvalidInputs, pointer
from templates.engine import Template

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["Runs"]

LESS = "fewer `outputs` cost the same, a smaller `count` or another model of the template less"


class Runs:
    """Plans runs and lets them in.

    Args:
        core: what they are let in to.
    """

    def __init__(self, core: "Core") -> None:
        self._core = core

    def template(self, name: str, body: TemplateRequest | None = None) -> Template:
        """The template that a request names.

        Raises:
            Problem: `unknown_template`: there is none, or the body names another.
        """
        known = self._core.templates.templates
        found = known.get(name)
        said = None if body is None else body.template
        if found is None or said not in (None, name):
            raise Problem(
                "unknown_template",
                f"No template is called {said or name!r}. Known: {', '.join(known)}",
                supported=list(known),
            )
        return found

    def turn(self, body: TemplateRequest, caller: Principal) -> Turn:
        """When a run would run.

        Raises:
            Problem: `premium_required`.
        """
        core = self._core
        return turn_of(GenerateRequest(schedule=body.schedule), caller, core.settings, core.ambient.now_ms())

    def plan(self, name: str, body: TemplateRequest, caller: Principal) -> RunPlan:
        """What a run would do and cost, as far as it can be told without the caller's own pictures.

        Raises:
            Problem: `unknown_template`, `invalid_variables`, `premium_required`.
            InvalidInputs: what is wrong beside the variables.
        """
        template, turn = self.template(name, body), self.turn(body, caller)
        try:
            return plan_run(
                template,
                body,
                self._core.catalog.vocabulary,
                lambda request: self._core.plan(
                    request, percent_off=turn.percent_off, price_list=caller.price_list
                ),
            )
        except InvalidInputs as error:
            raise refused(error) from error

    async def checked(self, name: str, body: TemplateRequest, caller: Principal) -> RunPlan:
        """As `plan`, with its text laid out: what does not fit is told before anything is spent.

        Raises:
            Problem, InvalidInputs: as `plan`.
        """
        found = self.plan(name, body, caller)
        try:
            await asyncio.to_thread(check_layout, found)
        except InvalidInputs as error:
            raise refused(error) from error
        return found

    async def generate(
        self,
        name: str,
        body: TemplateRequest,
        caller: Principal,
        wait_s: float,
        *,
        claim: Claim | None = None,
    ) -> JobRow:
        """Let a run in and wait up to `wait_s` seconds for its end; its job, ended or not.

        Raises:
            Repeated, Problem, InvalidInputs: as `start`.
        """
        job_id = await self.start(name, body, caller, claim=claim)
        return await self._core.wait(job_id, caller.account_id, wait_s)

    async def start(
        self, name: str, body: TemplateRequest, caller: Principal, *, claim: Claim | None = None
    ) -> str:
        """Let a run in; the id of its job.

        Raises:
            Repeated: it was let in before.
            Problem: `unknown_template`, `invalid_variables`, `provider_not_configured`,
                `insufficient_funds`, `budget_exhausted`, `premium_required`, `too_many_requests`,
                `too_many_jobs`, `too_many_webhooks`, `shutting_down`, `storage_unavailable`.
            InvalidInputs: what is wrong beside the variables.
        """
        core = self._core
        core.admission.check_open()
        turn = self.turn(body, caller)
        await core.admission.count(caller)
        found = await self.checked(name, body, caller)
        if found.unavailable is not None:
            raise Problem(
                "provider_not_configured",
                f"{name} cannot run: {found.unavailable.reason}. "
                "Nothing was charged. `GET /api/templates` shows what is available",
                setting=found.unavailable.setting,
            )
        delivery = await core.delivery.intake.accept(body.delivery, caller, waits=turn.waits)
        try:
            with core.tracing.span("media"):
                images = await self._bring_images(found.run.images, caller)
                found = await self._with_product(found, images)
                found = await self._bring_inputs(found, caller)
        except InvalidInputs as error:
            raise refused(error) from error
        new = self._new_job(found, body, caller, turn, images, claim)
        new = structs.replace(new, delivery=delivery)
        try:
            await core.admission.enter(new)
        except (InsufficientFunds, BudgetExhausted) as error:
            raise refusal(error, core.ambient.now_ms(), less=LESS) from error
        return new.id

    async def _bring_images(self, wanted: Mapping[str, str], caller: Principal) -> dict[str, MediaRef]:
        """The caller's own pictures, fetched, checked and kept.

        Raises:
            InvalidInputs: each that cannot be used.
            Problem: `storage_unavailable`.
        """
        names = list(wanted)
        brought = await asyncio.gather(
            *(self._core.media.bring(wanted[name], "image", caller.account_id) for name in names),
            return_exceptions=True,
        )
        faults: list[Fault] = []
        found: dict[str, MediaRef] = {}
        for name, row in zip(names, brought, strict=True):
            if isinstance(row, MediaRefused):
                at, allowed = pointer("variables", name), LIMITS["image"].words
                faults.append(Fault(pointer=at, code="invalid_reference", message=str(row), allowed=allowed))
            elif isinstance(row, BaseException):
                raise row
            else:
                found[name] = MediaRef(
                    url=str(shown_inputs({"url": wanted[name]})["url"]),
                    key=row.storage_key,
                    content_type=row.content_type,
                    size=row.byte_size,
                    sha256=row.sha256,
                    width=row.width,
                    height=row.height,
                )
        if faults:
            raise InvalidInputs(faults)
        return found

    async def _with_product(self, found: RunPlan, images: Mapping[str, MediaRef]) -> RunPlan:
        """A plan without the step that cuts the product out, where that can be done by rule.

        Raises:
            InvalidInputs: it can be done neither by rule nor by a model.
        """
        product = found.template.row.product
        name = None if product is None else product.of
        if name is None or name not in images:
            return structs.replace(found, steps=tuple(one for one in found.steps if not one.cuts))
        data = await self._core.media.read(images[name])
        why = await asyncio.to_thread(product_of, data)
        cutters = [one for one in found.steps if one.cuts]
        if why is None:
            return structs.replace(found, steps=tuple(one for one in found.steps if not one.cuts))
        if not cutters:
            at = pointer("variables", name)
            raise InvalidInputs(
                [
                    Fault(
                        pointer=at,
                        code="no_cutout",
                        message=f"{why}, and no model that removes backgrounds is available",
                        allowed="a PNG with a transparent background, or a product before a plain one",
                    )
                ]
            )
        return structs.replace(found, steps=tuple(structs.replace(one, cuts=False) for one in found.steps))

    async def _bring_inputs(self, found: RunPlan, caller: Principal) -> RunPlan:
        """A plan whose requests' references are complete: LoRAs and pictures that variables name."""
        core = self._core

        async def brought(one: StepPlan) -> StepPlan:
            try:
                candidates = await bring_references(
                    core.media, one.plan.candidates, one.asked, core.catalog.vocabulary, caller.account_id
                )
                plan = requoted(structs.replace(one.plan, candidates=candidates), one.asked)
            except InvalidInputs as error:
                raise of_variables(error, one.request) from error
            return structs.replace(one, plan=plan)

        return structs.replace(found, steps=tuple([await brought(one) for one in found.steps]))

    def _new_job(
        self,
        found: RunPlan,
        body: TemplateRequest,
        caller: Principal,
        turn: Turn,
        images: dict[str, MediaRef],
        claim: Claim | None,
    ) -> NewJob:
        core, quote = self._core, totals(found.steps)
        job_id = core.ambient.new_id("job") if claim is None else claim.job_id
        shown = _shown(found.template, body.variables)
        steps = tuple(one.record for one in found.steps)
        limit_s = core.settings.job_timeout_s * max(1, len(steps))
        record = RunRecord(
            template=found.template.name,
            version=found.template.version,
            variables=shown,
            images=images,
            outputs=found.outputs,
            steps=steps,
            count=found.count,
        )
        keys = (
            *(ref.key or "" for ref in images.values()),
            *(k for s in steps for k in keys_of(s.candidates)),
        )
        return NewJob(
            id=job_id,
            account_id=caller.account_id,
            end_user=body.user_id,
            model=model_of(found.template.name),
            registry_version=core.catalog.version,
            admitted=Admitted(
                inputs={"variables": shown},
                options=shown_inputs(body.options),
                candidates=(),
                schedule=body.schedule,
                cost_now_micros=found.full_micros if turn.waits else None,
                run=record,
            ),
            report=found.report,
            warnings=found.warnings,
            routing=found.routing,
            quote_micros=quote.price_micros,
            ceiling_micros=quote.ceiling_micros,
            deadline_at=core.ambient.now_ms() + int(min(limit_s, found.max_seconds or limit_s) * 1000),
            attempt=None,
            status="scheduled" if turn.waits else "queued",
            owner=None if turn.waits else core.runner.owner,
            runs_at=turn.runs_at,
            # It shares a warm pipeline with nobody: its steps are of several.
            group_key=job_id if turn.waits else None,
            key_id=caller.key.id if caller.key else None,
            max_open=core.admission.most_open(caller),
            media_keys=tuple(dict.fromkeys(keys)),
            claim=claim,
            template=found.template.name,
        )


def _shown(template: Template, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as they are kept: of pictures' `data:` URLs the beginning, and every word of the rest."""
    references = {
        name: value
        for name, value in variables.items()
        if template.row.variables[name].type in ("image", "lora")
    }
    return {**variables, **shown_inputs(references)}
