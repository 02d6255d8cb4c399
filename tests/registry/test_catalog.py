"""Models by id, alias and intent."""

import pytest
from support.registry_text import small

from registry.catalog import Catalog, PassedOver
from registry.errors import UnknownModel
from registry.load import load_registry
from registry.schema import Model

CATALOG = Catalog(small())
SHIPPED = Catalog(load_registry())


def free(model: Model) -> str | None:
    return None


def without(*ids: str) -> dict[str, str]:
    return dict.fromkeys(ids, "no key")


@pytest.mark.parametrize("name", ["one", "uno"])
def test_a_model_has_its_id_and_its_aliases(name: str) -> None:
    assert CATALOG.model(name).id == "one"


@pytest.mark.parametrize(
    ("alias", "model"),
    [
        ("glm-image", "zai-org/GLM-Image"),
        ("sdxl", "stabilityai/stable-diffusion-xl-base-1.0"),
        ("sd-1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("mini", "embedded-mini"),
    ],
)
def test_the_shipped_aliases(alias: str, model: str) -> None:
    assert SHIPPED.model(alias).id == model


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("flux-lara", "flux-lora"),
        ("sdxI", "sdxl"),
        ("face_swap", "face-swap"),
    ],
)
def test_a_near_miss_is_hinted_at(name: str, close: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        SHIPPED.model(name)
    assert caught.value.close[0] == close
    assert f"Did you mean {close}" in str(caught.value)
    assert caught.value.supported == tuple(SHIPPED.models)


@pytest.mark.parametrize("name", ["", "nothing like it", "x" * 1_000_000, "\ud800"])
def test_a_strange_name_is_unknown(name: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        SHIPPED.model(name)
    assert caught.value.close == ()


@pytest.mark.parametrize(
    ("model", "intent", "unusable", "chosen", "rule", "passed"),
    [
        ("uno", None, (), "one", "model", ()),
        ("one", "quick", (), "one", "model", ()),
        ("two", None, ("two",), "two", "model", ()),  # a named model is never changed
        (None, "quick", (), "two", "intent", ()),
        (None, "quick", ("two",), "one", "intent", ("two",)),
        (
            None,
            "quick",
            ("two", "one"),
            "two",
            "intent",
            ("one",),
        ),  # none can: the best, whose error says why
        (None, None, (), "one", "default", ()),
        (None, "nix", (), "one", "default", ()),
    ],
)
def test_a_selection(
    model: str | None,
    intent: str | None,
    unusable: tuple[str, ...],
    chosen: str,
    rule: str,
    passed: tuple[str, ...],
) -> None:
    selection = CATALOG.select(model, intent, lambda m: without(*unusable).get(m.id))
    assert (selection.model.id, selection.rule) == (chosen, rule)
    assert selection.passed_over == tuple(PassedOver(model=p, reason="no key") for p in passed)


def test_an_alias_says_so() -> None:
    assert CATALOG.select("uno", None, free).why == "'uno' is an alias of it"
    assert CATALOG.select("one", None, free).why == "named by the request"


def test_an_unknown_intent_warns_and_takes_the_default() -> None:
    (warning,) = CATALOG.select(None, "nix", free).warnings
    assert "'nix' is not known" in warning
    assert "Known: quick" in warning
    assert CATALOG.select(None, "quick", free).warnings == ()


def test_an_unknown_model_is_never_replaced_by_an_intent() -> None:
    with pytest.raises(UnknownModel):
        CATALOG.select("nix", "quick", free)


@pytest.mark.parametrize(
    ("intent", "best"),
    [
        ("realistic", "nano-banana-2"),
        ("text_heavy", "ideogram-v3"),
        ("logic", "gpt-image-1.5"),
        ("wide_angle", "nano-banana-pro"),
        ("speed", "sd-3.5-large-turbo"),
        ("vector", "recraft-v4-vector"),
        ("edit", "flux-pro"),
    ],
)
def test_the_shipped_intents(intent: str, best: str) -> None:
    assert SHIPPED.select(None, intent, free).model.id == best


def test_without_keys_intents_end_at_the_embedded_model() -> None:
    for intent in SHIPPED.data.intents:
        only = SHIPPED.select(None, intent, lambda m: None if m.id == "embedded-mini" else "no key")
        assert only.model.id == "embedded-mini"


@pytest.mark.parametrize(
    ("name", "serves"),
    [
        ("ideogram-v3", "ideogram-v3"),
        ("nano-banananew", "nano-banana-2"),
        ("dalle-3-ultra", "gpt-image-1.5"),
        ("imagen-4-ultra", "nano-banana-pro"),
        ("sd3-5-turbo", "sd-3.5-large-turbo"),
    ],
)
def test_the_names_of_the_seed_lead_to_what_serves_that_need_today(name: str, serves: str) -> None:
    assert SHIPPED.model(name).id == serves


def test_it_shows_its_data() -> None:
    assert CATALOG.data.version == CATALOG.version
    assert set(CATALOG.vocabulary) == set(CATALOG.data.vocabulary)
    assert list(CATALOG.models) == ["one", "two"]
