"""Looks models up: by id, by alias, by intent."""

import re
from collections.abc import Callable
from difflib import get_close_matches

from msgspec import Struct

from registry.errors import UnknownModel, UnknownPriceList
from registry.prices import listed_price
from registry.schema import Catalogue, Model, Price, Term

__all__ = ["AUTO", "Catalog", "PassedOver", "Selection"]

AUTO, AUTO_ELSE = "auto", "realistic"
"""The intent that is read from the prompt, and what it is when nothing is found there."""
MOST_PROMPT = 2000


class PassedOver(Struct, frozen=True, kw_only=True):
    """A model that would have come first, and why it did not serve."""

    model: str
    reason: str


class Selection(Struct, frozen=True, kw_only=True):
    """The model that serves a request, and how it was found."""

    model: Model
    rule: str
    """`model`, `intent` or `default`."""
    why: str
    passed_over: tuple[PassedOver, ...] = ()
    warnings: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    """The models that come after it under the same intent: its fallbacks."""


class Catalog:
    """Look-ups over one loaded registry. Immutable; a reload makes a new one."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._aliases = {
            alias: model for model in catalogue.models.values() for alias in (model.id, *model.aliases)
        }

    @property
    def data(self) -> Catalogue:
        """The registry itself."""
        return self._catalogue

    @property
    def version(self) -> str:
        """The registry's version hash; jobs keep it."""
        return self._catalogue.version

    @property
    def vocabulary(self) -> dict[str, Term]:
        """The unified vocabulary."""
        return self._catalogue.vocabulary

    @property
    def models(self) -> dict[str, Model]:
        """Every model by id, in the order of the file."""
        return self._catalogue.models

    @property
    def alive(self) -> dict[str, Model]:
        """Those that are not retired."""
        return {name: model for name, model in self.models.items() if model.status != "retired"}

    def price(self, model: Model, price_list: str | None) -> Price:
        """What a model costs, with its conditions: by a price list, or by its own price.

        Raises:
            UnknownPriceList: there is no such list.
        """
        if price_list is None:
            return model.price
        rows = self._catalogue.price_lists.get(price_list)
        if rows is None:
            raise UnknownPriceList(price_list)
        return listed_price(model, rows)

    def model(self, name: str) -> Model:
        """The model with this id or alias.

        Raises:
            UnknownModel: with the ids that exist.
        """
        found = self._aliases.get(name)
        if found is None:
            close = get_close_matches(name, self._aliases, n=3)
            raise UnknownModel(name, tuple(self.models), tuple(close))
        return found

    def read_prompt(self, prompt: str, features: frozenset[str]) -> tuple[str, str]:
        """The intent that a prompt shows, and by what: `intent: auto`.

        Args:
            prompt: of the request.
            features: the kinds of input that it has.

        Returns:
            The first intent of the file that one of its patterns finds; without one, `AUTO_ELSE` or,
            where the file has none of that name, its last.
        """
        for name, intent in self._catalogue.intents.items():
            if not set(intent.needs) <= features:
                continue
            for pattern in intent.prompts:
                found = re.search(pattern, prompt[:MOST_PROMPT], re.IGNORECASE | re.DOTALL)
                if found is not None:
                    return name, f"the prompt has {' '.join(found[0].split())[:40]!r}"
        names = tuple(self._catalogue.intents)
        return (AUTO_ELSE if AUTO_ELSE in names else names[-1]), "the prompt has no mark of a need"

    def select(
        self, model: str | None, intent: str | None, usable: Callable[[Model], str | None]
    ) -> Selection:
        """The model that serves: the named one, else the intent's best that is usable.

        Args:
            model: an id or alias; it wins over the intent.
            intent: a need; an unknown one gets the default, with a warning.
            usable: why a model cannot serve now, None when it can. Not asked of a named model:
                a named model is never changed in silence.

        Raises:
            UnknownModel: `model` is not in the registry.
        """
        if model is not None:
            found = self.model(model)
            why = "named by the request" if model == found.id else f"{model!r} is an alias of it"
            return Selection(model=found, rule="model", why=why)
        if intent is not None and intent in self._catalogue.intents:
            return self._best(self._catalogue.intents[intent].models, "intent", f"best for {intent}", usable)
        chosen = self._best(self._catalogue.default, "default", "the registry's default", usable)
        if intent is None:
            return chosen
        known = ", ".join(self._catalogue.intents)
        warning = f"the intent {intent!r} is not known; the default served. Known: {known}"
        return Selection(
            model=chosen.model,
            rule="default",
            why=chosen.why,
            passed_over=chosen.passed_over,
            warnings=(warning,),
            rest=chosen.rest,
        )

    def _best(
        self, names: tuple[str, ...], rule: str, why: str, usable: Callable[[Model], str | None]
    ) -> Selection:
        passed: list[PassedOver] = []
        for index, name in enumerate(names):
            model = self.models[name]
            reason = usable(model)
            if reason is None:
                why_now = f"{why}, after {len(passed)} that could not serve" if passed else why
                return Selection(
                    model=model, rule=rule, why=why_now, passed_over=tuple(passed), rest=names[index + 1 :]
                )
            passed.append(PassedOver(model=name, reason=reason))
        # None can serve: the best is named, and its own error says what to set.
        return Selection(model=self.models[names[0]], rule=rule, why=why, passed_over=tuple(passed[1:]))
