"""What a template's run would do and cost: each of its steps planned as a request of its own. Nothing is
spent or stored.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from billing.pricing import Quote
from gateway.controls import CONTROLS, check_cost, read_controls
from gateway.media.decode import Kind
from gateway.media.walk import replaced
from gateway.model_plan import Candidate, Plan
from gateway.problems import Problem
from gateway.requote import requoted
from gateway.runs.records import STEP_URL, StepRecord
from gateway.schemas import GenerateRequest, RoutingView, TemplateRequest
from providers.base import MediaRef, Unavailable
from providers.normalizer import ReportRow
from registry.errors import Fault, InvalidInputs, pointer
from registry.schema import Term
from templates.engine import Request, Run, Template
from templates.rows import Output

__all__ = ["Planner", "RunPlan", "StepPlan", "of_variables", "outputs_of", "plan_run", "refused", "totals"]

Planner = Callable[[GenerateRequest], Plan]


class StepPlan(Struct, frozen=True, kw_only=True):
    """One step, planned."""

    request: Request
    asked: GenerateRequest
    plan: Plan
    times: int
    """Jobs that it has."""
    pictures: int
    """That it makes in all."""
    cuts: bool = False
    """It is run only where the product cannot be cut out by rule."""

    @property
    def record(self) -> StepRecord:
        """As it is kept with the run."""
        step, plan = self.request.step, self.plan
        return StepRecord(
            name=step.name,
            do=step.do,
            of=step.of,
            optional=step.optional,
            model=plan.model.id,
            candidates=plan.candidates,
            report=plan.report,
            warnings=plan.warnings,
            routing=plan.routing,
            times=self.times,
            quote_micros=plan.quote.price_micros,
            ceiling_micros=plan.quote.ceiling_micros,
        )


class RunPlan(Struct, frozen=True, kw_only=True):
    """Everything that is decided before anything is spent."""

    template: Template
    run: Run
    outputs: tuple[Output, ...]
    count: int
    steps: tuple[StepPlan, ...]
    warnings: tuple[str, ...]
    unavailable: Unavailable | None
    """Why a step that must be cannot be made now."""
    max_seconds: float | None = None

    @property
    def quote(self) -> Quote:
        """What is expected, and the most that it may cost."""
        return totals(self.steps)

    @property
    def full_micros(self) -> int:
        """What it would cost at once."""
        return sum(one.plan.full_micros * one.times for one in self.steps if not one.cuts)

    @property
    def report(self) -> tuple[ReportRow, ...]:
        """Of what is generated; each step has its own besides."""
        return self.steps[0].plan.report if self.steps else ()

    @property
    def routing(self) -> RoutingView:
        """How the first step's model was chosen."""
        if self.steps:
            return self.steps[0].plan.routing
        why = "the template makes its outputs without a model"
        return RoutingView(rule="template", why=why, requested=self.template.name, passed_over=())


def plan_run(
    template: Template, body: TemplateRequest, vocabulary: Mapping[str, Term], plan: Planner
) -> RunPlan:
    """What a template's run would do.

    Args:
        template: whose run.
        body: what the caller asks for.
        vocabulary: the registry's: how options may be spelled.
        plan: plans one request.

    Raises:
        InvalidInputs: what is wrong with the variables or the options, by JSON pointer; it may cost more
            than `max_cost`.
        TemplateError: a prompt does something that the sandbox forbids.
    """
    controls, parts = read_controls({"options": body.options})
    _check_options(body, vocabulary)
    run = template.plan(body.variables, parts["options"])
    outputs = outputs_of(run, body)
    steps: list[StepPlan] = []
    warnings: list[str] = []
    unavailable: Unavailable | None = None
    for request in run.requests:
        before = {one.request.step.name: one for one in steps}
        made = _plan_step(request, body, run, before, plan)
        if isinstance(made, str):
            warnings.append(made)
        elif made.plan.unavailable is not None and (request.step.optional or made.cuts):
            # Where it is needed after all, the product is refused for it.
            if not made.cuts:
                warnings.append(f"{request.step.name} is left out: {made.plan.unavailable.reason}")
        else:
            unavailable = unavailable or made.plan.unavailable
            steps.append(made)
    check_cost(controls, totals(steps))
    return RunPlan(
        template=template,
        run=run,
        outputs=outputs,
        count=body.count,
        steps=tuple(steps),
        warnings=(*warnings, *(w for one in steps for w in one.plan.warnings)),
        unavailable=unavailable,
        max_seconds=controls.max_seconds,
    )


def totals(steps: Sequence[StepPlan]) -> Quote:
    """What steps cost together; one that may not be needed counts towards the ceiling alone."""
    return Quote(
        price_micros=sum(one.plan.quote.price_micros * one.times for one in steps if not one.cuts),
        ceiling_micros=sum(one.plan.quote.ceiling_micros * one.times for one in steps),
        unit="job",
        detail=" + ".join(f"{one.request.step.name}: {one.plan.quote.detail}" for one in steps),
    )


def of_variables(error: InvalidInputs, request: Request) -> InvalidInputs:
    """The faults of a step's request as those of the variables that it was made of."""
    sent = {pointer("inputs", name): word for name, word in request.step.send.items()}

    def moved(fault: Fault) -> Fault:
        if not fault.pointer.startswith("/inputs"):
            return fault
        word = sent.get(fault.pointer)
        at = pointer("variables") if word is None else pointer("variables", word)
        return structs.replace(fault, pointer=at, message=f"{request.step.name}: {fault.message}")

    return InvalidInputs([moved(fault) for fault in error.faults])


def _plan_step(
    request: Request, body: TemplateRequest, run: Run, before: Mapping[str, StepPlan], plan: Planner
) -> StepPlan | str:
    """One step planned; why it is left out, of an optional one that cannot be."""
    step = request.step
    of_step = before.get(step.of or "")
    if step.of is not None and of_step is None and step.of not in run.images:
        # What it would take was left out, or not given.
        if step.optional:
            return f"{step.name} is left out: there is no {step.of}"
        fault = Fault(pointer=pointer("variables", step.of), code="missing", message=f"{step.name} needs it")
        raise InvalidInputs([fault])
    asked = _asked(request, body, run.images.get(step.of or ""))
    try:
        planned = plan(asked)
    except InvalidInputs as error:
        if step.optional:
            return f"{step.name} is left out: {error.faults[0].message}"
        raise of_variables(error, request) from error
    times = 1 if of_step is None else of_step.pictures
    if of_step is not None:
        planned = requoted(_sized(planned, of_step.plan.candidates[0]), asked)
    return StepPlan(
        request=request,
        asked=asked,
        plan=planned,
        times=times,
        pictures=planned.candidates[0].num_images * times,
        cuts=step.only_if == "no-cutout",
    )


def _asked(request: Request, body: TemplateRequest, own: str | None) -> GenerateRequest:
    """A step as the request that it is."""
    step = request.step
    inputs, options = dict(request.inputs), dict[str, object]()
    if step.of is not None:
        inputs["image_url"] = own or f"{STEP_URL}{step.of}"
    if step.do == "generate":
        options = {name: value for name, value in body.options.items() if name not in CONTROLS}
        if body.count > 1:
            options["num_images"] = body.count
    if body.options.get("on_unsupported") is not None:
        options["on_unsupported"] = body.options["on_unsupported"]
    return GenerateRequest(
        model=request.model, intent=request.intent, inputs=inputs, options=options, user_id=body.user_id
    )


def _sized(plan: Plan, source: Candidate) -> Plan:
    """A plan that knows how large the pictures are that other steps make for it."""

    def change(ref: MediaRef, kind: Kind) -> MediaRef:
        if not ref.url.startswith(STEP_URL):
            return ref
        return structs.replace(ref, width=source.width, height=source.height)

    def known(candidate: Candidate) -> Candidate:
        calls = tuple(structs.replace(c, payload=replaced(c.payload, change)) for c in candidate.calls)
        return structs.replace(candidate, calls=calls)

    return structs.replace(plan, candidates=tuple(known(one) for one in plan.candidates))


def _check_options(body: TemplateRequest, vocabulary: Mapping[str, Term]) -> None:
    """Refuse the options that a template has other words for.

    Raises:
        InvalidInputs: each, by JSON pointer.
    """
    instead = {"allow_downgrade": "fewer `outputs`, or a smaller `count`"}
    for name, words in (("num_images", "`count`"), ("output_format", "`format`")):
        instead |= dict.fromkeys((name, *vocabulary[name].aliases), words)
    faults = [
        Fault(
            pointer=pointer("options", name),
            code="not_allowed",
            message=f"a template does not take {name}",
            allowed=instead[name],
        )
        for name, value in body.options.items()
        if name in instead and value not in (None, False)
    ]
    if faults:
        raise InvalidInputs(faults)


def outputs_of(run: Run, body: TemplateRequest) -> tuple[Output, ...]:
    """The outputs that are wanted, in the format that is.

    Raises:
        InvalidInputs: one that the template does not have.
    """
    names = [output.name for output in run.outputs]
    faults = [
        Fault(
            pointer=pointer("outputs", place),
            code="not_allowed",
            message=f"there is no output {name!r}",
            allowed=", ".join(names) or "none: the pictures come out as they are",
        )
        for place, name in enumerate(body.outputs or ())
        if name not in names
    ]
    if faults:
        raise InvalidInputs(faults)
    wanted = [one for one in run.outputs if body.outputs is None or one.name in body.outputs]
    return tuple(one if body.format is None else structs.replace(one, format=body.format) for one in wanted)


def refused(error: InvalidInputs) -> Exception:
    """Faults as the problem that they are: of the template's variables, where one of them is."""
    if any(fault.pointer.startswith("/variables") for fault in error.faults):
        return Problem("invalid_variables", str(error), errors=list(error.faults))
    return error
