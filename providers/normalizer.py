"""From the unified vocabulary to one route's own words, with an account of every parameter.

Pure and table-driven: the registry's rows say how a parameter is spelled, limited and
defaulted; nothing here knows an endpoint or a model. Never silent: each parameter that the
caller gave has exactly one row in the report, whatever became of it.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

from msgspec import Struct

from providers.base import MediaRef
from providers.calls import PlannedCall, split, wrapped_seed
from providers.fitting import fit, shape
from providers.prompting import Written, write_prompt
from providers.sizing import SizePlan, plan_size
from registry.errors import Fault, InvalidInputs
from registry.inputs import Given, Lora, UnifiedInputs
from registry.schema import ParameterRule, Route, Term
from registry.sizes import SIZE_WORDS

__all__ = ["How", "Policy", "ReportRow", "Translation", "fitting_routes", "translate"]

How = Literal["exact", "alias", "converted", "defaulted", "clamped", "dropped", "emulated"]
Policy = Literal["error", "warn", "drop"]

LORA_WORDS = ("loras", "lora_url", "lora_scale")
SHOWN_DATA = 80


class ReportRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one parameter."""

    name: str
    how: How
    requested_as: str | None = None
    requested: Any = None
    sent_as: str | None = None
    sent: Any = None
    why: str | None = None


class Translation(Struct, frozen=True, kw_only=True):
    """A request in a route's own words."""

    calls: tuple[PlannedCall, ...]
    """What the endpoint gets: once, or several times where it makes fewer pictures at a time."""
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    width: int | None
    """Pixels of each picture; None when the endpoint decides."""
    height: int | None
    num_images: int
    """As many as the endpoint is asked for in all, whatever the caller asked."""
    seed: int | None
    effective: dict[str, Any] = {}
    """What is sent, by unified or native name: what a price may depend on."""
    revised_prompt: str | None = None
    """The prompt that is sent, where it is another than was asked for."""
    rewritten: bool = False
    """`optimize_prompt` was honoured here, and not by the endpoint."""

    @property
    def payload(self) -> dict[str, Any]:
        """Of the first call."""
        return self.calls[0].payload


def fitting_routes(routes: tuple[Route, ...], features: frozenset[str]) -> tuple[Route, ...]:
    """The routes whose `when` the request meets, in order: the first serves, the rest are fallbacks."""
    return tuple(route for route in routes if route.when <= features)


def translate(
    inputs: UnifiedInputs,
    route: Route,
    vocabulary: Mapping[str, Term],
    *,
    fresh_seed: int,
    policy: Policy | None = None,
    optimized: str | None = None,
) -> Translation:
    """Write a request in a route's words.

    Args:
        inputs: validated inputs.
        route: the route.
        vocabulary: the registry's.
        fresh_seed: the seed to send when the caller gave none and the route takes one.
        policy: what to do with what the route cannot honour; without one `error` for what
            changes the picture and `warn` for hints.
        optimized: the prompt as a language model rewrote it, where `optimize_prompt` asks for that.

    Raises:
        InvalidInputs: what cannot be honoured and must be, every fault at once.
    """
    written = write_prompt(inputs, route, optimized)
    desk = _Desk(inputs, route, vocabulary, policy, written)
    plan = plan_size(inputs, route)
    desk.place_size(plan)
    for name, rule in route.parameters.items():
        desk.place(name, rule, fresh_seed)
    for given in inputs.given:
        desk.account(given)
    if desk.faults:
        raise InvalidInputs(desk.faults)
    known = plan.width is not None
    return Translation(
        calls=split(route, {**deepcopy(route.constants), **desk.payload}, desk.num_images, desk.seed),
        report=tuple(desk.report),
        warnings=tuple(desk.warnings),
        width=plan.width if known else None,
        height=plan.height if known else None,
        num_images=desk.num_images,
        seed=desk.seed,
        effective=desk.effective,
        revised_prompt=None if written.prompt == inputs.prompt else written.prompt,
        rewritten=written.rewritten is not None,
    )


class _Desk:
    """One translation under way."""

    def __init__(
        self,
        inputs: UnifiedInputs,
        route: Route,
        vocabulary: Mapping[str, Term],
        policy: Policy | None,
        written: Written,
    ) -> None:
        self.inputs = inputs
        self.route = route
        self.vocabulary = vocabulary
        self.policy = policy
        self.written = written
        self.payload: dict[str, Any] = {}
        self.report: list[ReportRow] = []
        self.warnings: list[str] = []
        self.faults: list[Fault] = []
        self.seed: int | None = None
        self.num_images = 1
        self.done: set[str] = set()
        self.effective: dict[str, Any] = {}

    # -- size ---------------------------------------------------------------------------

    def place_size(self, plan: SizePlan) -> None:
        """Put the size into the payload and account for the words that asked for it."""
        self.payload.update(plan.sent)
        self.effective.update(plan.effective)
        words = [g for g in self.inputs.given if g.name in SIZE_WORDS and g.name not in self.route.parameters]
        if plan.unsupported:
            return
        words = self.overrule(words, plan.overruled)
        if plan.problem is not None and words:
            if self.refuses("width"):
                culprit = next((word for word in words if word.name in plan.moved), words[0])
                self.fault(culprit, "out_of_range", plan.problem, plan.allowed)
                self.done.update(word.name for word in words)
                return
            self.warn(plan.problem)
        for word in words:
            kept = plan.problem is None or (word.name in ("width", "height") and word.name not in plan.moved)
            how: How = plan.how(word.name, word.requested_as) if kept else "clamped"
            why = plan.note if kept else plan.problem
            if kept and plan.emulated is not None:
                how, why = "emulated", plan.emulated
            self.row(word, how, plan.sent_as(word.name), plan.sent_value(word.name), why)
        if not words and plan.sent:
            self.report.append(
                ReportRow(
                    name="size",
                    how="defaulted",
                    sent_as=plan.sent_as("size"),
                    sent=plan.sent_value("size"),
                    why="the model's default size",
                )
            )

    def overrule(self, words: list[Given], overruled: dict[str, str]) -> list[Given]:
        """Account for the words that width and height contradict; the others are returned."""
        for word in [word for word in words if word.name in overruled]:
            why = overruled[word.name]
            if self.refuses(word.name):
                allowed = f"width and height without {word.name}, or one of them with it"
                self.fault(word, "conflicting_values", why, allowed)
                self.done.add(word.name)
            else:
                self.warn(why)
                self.row(word, "dropped", None, None, why)
        return [word for word in words if word.name not in overruled]

    # -- everything else ----------------------------------------------------------------

    def place(self, name: str, rule: ParameterRule, fresh_seed: int) -> None:
        """Put one of the route's parameters into the payload."""
        value: Any = self.inputs.native.get(name) if rule.native else getattr(self.inputs, name, None)
        if name == "prompt":
            value = self.written.prompt
        spellings = LORA_WORDS if name == "loras" else (name,)
        words = [given for given in self.inputs.given if given.name in spellings]
        if value is None or not words:
            self.place_default(name, rule, fresh_seed)
            return
        if name == "num_images" and self.emulate(words[0], value):
            return
        fitted, problem, allowed = fit(rule, value)
        if problem is not None:
            if self.refuses(name):
                culprit = next((word for word in words if word.name == "lora_scale"), words[0])
                self.fault(culprit, "out_of_range", problem, allowed)
                self.done.update(word.name for word in words)
                return
            self.warn(f"{problem} (allowed: {allowed})")
            if fitted is None:
                for word in words:
                    self.row(word, "dropped", None, None, f"{problem}; allowed: {allowed}")
                self.place_default(name, rule, fresh_seed, quiet=True)
                return
        self.send(name, rule, words, fitted, problem)

    def send(
        self, name: str, rule: ParameterRule, words: list[Given], fitted: Any, problem: str | None
    ) -> None:
        """Write a parameter and the rows of the words that asked for it."""
        sent_as = rule.send or name
        before = self.payload.get(sent_as, []) if rule.shape == "more" else []
        sent = shape(rule, self.media(name, fitted))
        self.payload[sent_as] = [*before, *sent] if rule.shape == "more" else sent
        self.note(name, fitted)
        shown = shape(rule, fitted)
        for word in words:
            how: How = "exact"
            if problem is not None and word.name != "lora_url":  # of a LoRA the scale alone is moved
                how = "clamped"
            elif sent_as != name or rule.shape != "value" or word.name != name or shown != word.requested:
                how = "converted"
            elif word.requested_as != name:
                how = "alias"
            self.row(word, how, sent_as, shown, problem if how == "clamped" else None)

    def place_default(self, name: str, rule: ParameterRule, fresh_seed: int, *, quiet: bool = False) -> None:
        """Send what the route sends when the caller says nothing."""
        value, why = rule.default, "the model's default"
        if name == "negative_prompt" and self.written.negative is not None:
            value, why = self.written.negative, "of the style that optimize_prompt asks for"
        if name == "seed":
            value = wrapped_seed(rule, fresh_seed)
            why = "chosen here, so that the picture can be made again"
        if value is None:
            return
        self.note(name, value)
        sent_as = rule.send or name
        self.payload[sent_as] = shape(rule, self.media(name, deepcopy(value)))
        if not quiet:
            sent = _short(shape(rule, value))
            self.report.append(ReportRow(name=name, how="defaulted", sent_as=sent_as, sent=sent, why=why))

    def account(self, given: Given) -> None:
        """The row of a parameter that this route does not take."""
        if given.name in self.done:
            return
        if given.name == "num_images" and self.inputs.num_images == 1:
            self.row(given, "exact", None, 1, "the endpoint makes one picture a call")
            return
        if given.name == "num_images" and self.emulate(given, self.inputs.num_images or 1):
            return
        if self.account_for_prompt(given):
            return
        message = f"{self.route.model} does not take {given.requested_as!r} here ({self.route.endpoint})"
        if self.refuses(given.name):
            taken = sorted(self.route.parameters) + ([] if self.route.size.style == "none" else ["size"])
            allowed = f"it takes {', '.join(taken)}; or set on_unsupported to warn or drop"
            self.fault(given, "unsupported_parameter", message, allowed)
            return
        self.row(given, "dropped", None, None, message)
        self.warn(message)

    def account_for_prompt(self, given: Given) -> bool:
        """The rows of what is no parameter of the endpoint, and is done to the prompt here."""
        sent_as = (
            self.route.parameters["prompt"].send or "prompt" if "prompt" in self.route.parameters else None
        )
        if given.name == "negative_prompt" and self.written.folded:
            self.row(given, "emulated", sent_as, self.inputs.negative_prompt, "put behind the prompt")
        elif given.name == "optimize_prompt" and self.written.rewritten is not None:
            self.row(given, "emulated", sent_as, True, self.written.rewritten)
        elif given.name == "optimize_prompt" and self.inputs.optimize_prompt is False:
            self.row(given, "exact", None, False, "the prompt is sent as it is")
        else:
            return False
        return True

    def emulate(self, given: Given, wanted: int) -> bool:
        """Make more pictures than the endpoint does at once by several calls, if that makes sense."""
        most = self.route.images_per_call
        if most is None or wanted <= most or not self.route.repeatable:
            return False
        rule = self.route.parameters.get("num_images")
        if rule is not None:
            self.payload[rule.send or "num_images"] = shape(rule, most)
        self.effective["num_images"] = most
        self.num_images = wanted
        each = "one picture" if most == 1 else f"at most {most} pictures"
        why = f"{-(-wanted // most)} calls: the endpoint makes {each} at once"
        self.row(given, "emulated", (rule.send or "num_images") if rule is not None else None, wanted, why)
        return True

    # -- helpers ------------------------------------------------------------------------

    def note(self, name: str, value: Any) -> None:
        """Keep what the job must know of what is sent."""
        self.effective[name] = value
        if name == "seed":
            self.seed = value
        elif name == "num_images":
            self.num_images = value

    def refuses(self, name: str) -> bool:
        """True when what cannot be honoured is an error."""
        if self.policy is not None:
            return self.policy == "error"
        term = self.vocabulary.get(name)
        return term is None or term.matters == "picture"

    def warn(self, message: str) -> None:
        """A warning, unless the caller asked for silence; the report has its row either way."""
        if self.policy != "drop":
            self.warnings.append(message)

    def row(self, given: Given, how: How, sent_as: str | None, sent: Any, why: str | None) -> None:
        """Account for a parameter that the caller gave."""
        self.done.add(given.name)
        self.report.append(
            ReportRow(
                name=given.name,
                how=how,
                requested_as=given.requested_as,
                requested=_short(given.requested),
                sent_as=sent_as,
                sent=_short(sent),
                why=why,
            )
        )

    def fault(self, given: Given, code: str, message: str, allowed: str | None) -> None:
        """Note what must be honoured and cannot be."""
        self.faults.append(Fault(pointer=given.pointer, code=code, message=message, allowed=allowed))

    def media(self, name: str, value: Any) -> Any:
        """References become `MediaRef`: a URL or bytes at submit, not before."""
        term = self.vocabulary.get(name)
        if term is None or term.type not in ("reference", "references", "loras"):
            return value
        if isinstance(value, str):
            return MediaRef(url=value)
        return tuple(_media_item(item) for item in value)


def _media_item(item: Any) -> Any:
    if isinstance(item, Lora):
        return {"url": MediaRef(url=item.url), "scale": item.scale}
    if isinstance(item, dict):  # a route's default, as its row writes it
        return {"url": MediaRef(url=item["url"]), "scale": item.get("scale", 1.0)}
    return MediaRef(url=item)


def _short(value: Any) -> Any:
    """A value for the report: without the megabytes of a `data:` URL."""
    if isinstance(value, str) and value.startswith("data:") and len(value) > SHOWN_DATA:
        return f"{value[:SHOWN_DATA]}... ({len(value)} characters)"
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value
