"""What a template's example would cost a caller."""

from gateway.accounts.principals import Principal
from gateway.core import Core
from gateway.schemas import GenerateRequest
from registry.errors import InvalidInputs, UnknownModel, UnknownPriceList
from templates.engine import Template
from templates.errors import TemplateError
from templates.library import sample_values

__all__ = ["sample_price"]


def sample_price(core: Core, template: Template, caller: Principal) -> int | None:
    """Micro-dollars that its sample would cost; None where that cannot be told."""
    own = sample_values(template)
    sample = {name: own[name] for name in template.row.sample}
    total = 0
    try:
        for request in template.plan(sample, {}).requests:
            if request.step.optional or request.step.only_if is not None:
                continue
            picture = {} if request.step.of is None else {"image_url": own_picture(request.step.of)}
            asked = GenerateRequest(
                model=request.model, intent=request.intent, inputs={**picture, **request.inputs}
            )
            total += core.plan(asked, price_list=caller.price_list).quote.price_micros
    except (InvalidInputs, UnknownModel, UnknownPriceList, TemplateError):
        return None
    return total


def own_picture(name: str) -> str:
    """A reference that stands for a step's picture before there is one."""
    return "upl_" + name.replace("-", "")
