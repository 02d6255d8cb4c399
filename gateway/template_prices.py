"""What a template's example would cost a caller."""

from gateway.accounts.principals import Principal
from gateway.core import Core
from gateway.problems import Problem
from gateway.schemas import TemplateRequest
from registry.errors import InvalidInputs, UnknownModel, UnknownPriceList
from templates.engine import Template
from templates.errors import TemplateError
from templates.library import sample_values

__all__ = ["sample_price"]


def sample_price(core: Core, template: Template, caller: Principal) -> int | None:
    """Micro-dollars that its sample would cost; None where that cannot be told."""
    own = sample_values(template)
    body = TemplateRequest(variables={name: own[name] for name in template.row.sample})
    try:
        return core.runs.plan(template.name, body, caller).quote.price_micros
    except (Problem, InvalidInputs, UnknownModel, UnknownPriceList, TemplateError):
        return None
