"""The quote once more, when the input pictures were fetched and their sizes are known. Pure."""

import itertools

from msgspec import structs

from gateway.controls import check_cost, read_controls
from gateway.model_plan import Candidate, Plan, priced
from gateway.schemas import GenerateRequest

__all__ = ["requoted"]


def requoted(plan: Plan, request: GenerateRequest) -> Plan:
    """A plan at the true sizes of its inputs: what is expected, held and compared with `max_cost` is by them.

    A plan of which no price counts its inputs comes back as it is. As in the plan itself, a later candidate
    of a model that costs more than its first is no fallback, nor is another model that costs more than the
    first, unless the caller listed it.

    Args:
        plan: its candidates' references are complete.
        request: what it was made for.

    Raises:
        InvalidInputs: it may cost more than `max_cost`.
    """
    if not any(_counts(candidate) for candidate in plan.candidates):
        return plan
    controls, _ = read_controls({"inputs": request.inputs, "options": request.options})
    again = [priced(candidate) for candidate in plan.candidates]
    models = [
        list(group) for _, group in itertools.groupby(again, key=lambda candidate: candidate.route.model)
    ]
    quote = models[0][0].quoted()
    check_cost(controls, quote)
    most = quote.ceiling_micros if request.fallbacks is None else controls.max_micros
    kept = [
        candidate
        for group in models
        if group is models[0] or most is None or group[0].ceiling_micros <= most
        for candidate in group
        if candidate.ceiling_micros <= group[0].ceiling_micros
    ]
    return structs.replace(
        plan,
        candidates=tuple(kept),
        quote=structs.replace(quote, ceiling_micros=max(one.ceiling_micros for one in kept)),
        full_micros=models[0][0].quoted(plan.full_price).price_micros,
    )


def _counts(candidate: Candidate) -> bool:
    return candidate.price.input_megapixels or candidate.route.provider_cost.input_megapixels
