"""Prices of what cannot be sent, prices below cost at something that can be asked, and price lists."""

import pytest
from support.registry_text import edited, small

from registry.catalog import Catalog
from registry.errors import RegistryError, UnknownPriceList
from registry.load import load_registry, parse_registry

PRICE = '    price: {per_image: "0.02"}\n'
COST = 'provider_cost: {per_image: "0.01"}\n'
INTEGRAL = "          scheduler: {enum: [euler, ddim]}\n"
GRADED = INTEGRAL + "          quality: {native: true, type: string, enum: [low, high], default: low}\n"
AT_PRICE, AT_COST = "models.one.price", "models.one.routes.0.provider_cost"


def fault(*edits: tuple[str, str]) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        parse_registry(edited(*edits), "small.yaml")
    return caught.value


def of(price: str = '{per_image: "0.02"}', cost: str = '{per_image: "0.01"}') -> tuple[tuple[str, str], ...]:
    """The edits that give the first model this price and this cost."""
    return ((PRICE, f"    price: {price}\n"), (COST, f"provider_cost: {cost}\n"), (INTEGRAL, GRADED))


@pytest.mark.parametrize(
    ("cost", "path", "message"),
    [
        ('{per_image: "0.01", rates: [{when: {speed: 1}, per_image: "0"}]}', "rates.0.when.speed", "sends no 'speed'"),
        ('{per_image: "0.01", rates: [{when: {width: 64}, per_image: "0"}]}', "rates.0.when.width", "sends no 'width'"),
        ('{per_image: "0.01", rates: [{when: {quality: lwo}, per_image: "0"}]}', "rates.0.when.quality",
         "sends no quality 'lwo'"),
        ('{per_image: "0.01", multipliers: [{when: {resolution: 8K}, factor: "2"}]}', "multipliers.0.when.resolution",
         "sends no resolution '8K'"),
        ('{per_image: "0.01", surcharges: [{when: {tiling: 1}, per_image: "0"}]}', "surcharges.0.when.tiling",
         "sends no tiling 1"),
        ('{per_image: "0.01", surcharges: [{when: {seed: 101}, per_image: "0"}]}', "surcharges.0.when.seed",
         "sends no seed 101"),
        ('{per_image: "0.01", table: {by: [tiling], per_image: {yess: "0"}}}', "table.per_image.tiling", "no tiling 'yess'"),
        ('{per_image: "0.01", table: {by: [quality, size], per_image: {low: {9000x64: "0"}}}}', "table.per_image.low.size",
         "no size '9000x64'"),
        ('{per_image: "0.01", table: {by: [quality, size], per_image: {low: {100x100: "0"}}}}', "table.per_image.low.size",
         "no size '100x100'"),
        ('{per_image: "0.01", table: {by: [quality, pace], per_image: {low: {a: "0"}}}}', "table.per_image.low.pace",
         "sends no 'pace'"),
    ],
)  # fmt: skip
def test_a_cost_depends_on_what_is_sent(cost: str, path: str, message: str) -> None:
    error = fault(*of(cost=cost))
    assert (error.path, message in error.message) == (f"{AT_COST}.{path}", True), error
    assert error.line > 0


def test_a_price_depends_on_what_some_route_takes() -> None:
    error = fault(*of('{per_image: "0.02", multipliers: [{when: {quality: best}, factor: "2"}]}'))
    assert error.path == f"{AT_PRICE}.multipliers.0.when.quality"
    assert error.message == "the model takes no quality 'best'"


BELOW = {
    "a multiplier": (
        '{per_image: "0.02"}',
        '{per_image: "0.01", multipliers: [{when: {quality: high}, factor: "3"}]}',
        "quality high is 0.02 USD, below the provider's 0.03",
    ),
    "two multipliers at once": (
        '{per_image: "0.02"}',
        '{per_image: "0.01", multipliers: [{when: {quality: high}, factor: "1.5"}, {when: {tiling: true}, factor: "1.5"}]}',
        "quality high, tiling True is 0.02 USD, below the provider's 0.0225",
    ),
    "a surcharge on top of a rate": (
        '{per_image: "0.02"}',
        '{per_image: "0.01", rates: [{when: {quality: high}, per_image: "0.018"}],'
        ' surcharges: [{when: {tiling: true}, per_image: "0.003"}]}',
        "quality high, tiling True is 0.02 USD, below the provider's 0.021",
    ),
    "a cell of a table": (
        '{per_image: "0.02"}',
        '{per_image: "0.01", table: {by: [quality, size], per_image: {high: {1024x512: "0.021"}}}}',
        "1024x512, quality high is 0.02 USD, below the provider's 0.021",
    ),
    "a cell of the price's own": (
        '{per_image: "0.02", table: {by: [quality], per_image: {low: "0.009"}}}',
        '{per_image: "0.01"}',
        "quality low is 0.009 USD, below the provider's 0.01",
    ),
    "a flat price of many pictures": (
        '{flat: "0.1"}',
        '{per_image: "0.01"}',
        "16 images is 0.1 USD, below the provider's 0.16",
    ),
    "a flat cost of one picture": (
        '{per_image: "0.02"}',
        '{flat: "0.03"}',
        "is 0.02 USD, below the provider's 0.03",
    ),
    "a surcharge of always": (
        '{per_image: "0.02"}',
        '{per_image: "0.018", surcharges: [{per_image: "0.003"}]}',
        "is 0.02 USD, below the provider's 0.021",
    ),
    "seconds": (
        '{per_compute_second: "0.001", typical_seconds: "9", max_seconds: "20"}',
        '{per_compute_second: "0.002", typical_seconds: "9"}',
        "is 0.009 USD, below the provider's 0.018",
    ),
    "seconds above what a price holds": (
        '{per_compute_second: "0.002", typical_seconds: "5"}',
        '{per_compute_second: "0.002", typical_seconds: "9"}',
        "is 0.010 USD, below the provider's 0.018",
    ),
}


@pytest.mark.parametrize(("price", "cost", "message"), BELOW.values(), ids=BELOW)
def test_a_price_below_cost_is_found(price: str, cost: str, message: str) -> None:
    error = fault(*of(price, cost))
    assert error.path == AT_PRICE
    assert message in error.message
    sold = small(*of(price + "\n    below_cost: an offer", cost))
    assert sold.models["one"].below_cost == "an offer"


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        ('{flat: "0.16"}', '{per_image: "0.01"}'),
        # A default is one of the values, so that the base rate of the cost is never paid.
        ('{per_image: "0.02"}', '{per_image: "9", table: {by: [quality], per_image: {low: "0.02", high: "0.01"}}}'),
        # What the route cannot be asked for does not count: the other model's routes may.
        ('{per_image: "0.02", surcharges: [{when: {tiling: true}, per_image: "0.01"}]}',
         '{per_image: "0.02", multipliers: [{when: {tiling: true}, factor: "1.5"}]}'),
        ('{per_compute_second: "0.002", typical_seconds: "9"}', '{per_compute_second: "0.001", typical_seconds: "9"}'),
    ],
)  # fmt: skip
def test_a_price_that_is_not_below_cost(price: str, cost: str) -> None:
    assert "one" in small(*of(price, cost)).models


INPUTS = (INTEGRAL, INTEGRAL + "          image_url: {}\n")


@pytest.mark.parametrize(
    ("price", "cost", "good"),
    [
        ('{per_megapixel: "0.02"}', '{per_megapixel: "0.01", input_megapixels: true}', False),
        ('{per_image: "0.5"}', '{per_megapixel: "0.01", input_megapixels: true}', False),
        (
            '{per_megapixel: "0.02", input_megapixels: true}',
            '{per_megapixel: "0.01", input_megapixels: true}',
            True,
        ),
        ('{per_megapixel: "0.02", input_megapixels: true}', '{per_megapixel: "0.01"}', True),
    ],
)
def test_inputs_count_against_the_price(price: str, cost: str, good: bool) -> None:
    edits = ((PRICE, f"    price: {price}\n"), (COST, f"provider_cost: {cost}\n"), INPUTS)
    if good:
        assert "one" in small(*edits).models
    else:
        assert "1 large inputs is" in fault(*edits).message
        # A route that takes no picture has none to count.
        assert "one" in small(*edits[:2]).models


def test_more_than_can_be_tried_is_refused() -> None:
    rows = ", ".join(f'{{when: {{seed: {n}}}, per_image: "0"}}' for n in range(70))
    more = ", ".join(f'{{when: {{num_inference_steps: {n}}}, factor: "1"}}' for n in range(1, 50))
    third = ", ".join(f'{{when: {{{word}}}, per_image: "0"}}' for word in ("tiling: true", "tiling: false"))
    error = fault(
        *of(f'{{per_image: "0.02", rates: [{rows}], multipliers: [{more}], surcharges: [{third}]}}')
    )
    assert (error.path, "combinations of values" in error.message) == (AT_PRICE, True)


def test_what_a_unit_costs_is_of_a_cost() -> None:
    error = fault(*of('{per_image: "0.02", unit_price: "1"}'))
    assert error.path == f"{AT_PRICE}.unit_price"
    assert (
        small(*of(cost='{per_image: "0.01", unit_price: "1"}'))
        .models["one"]
        .routes[0]
        .provider_cost.unit_price
        == 1
    )


# -- price lists --------------------------------------------------------------------------


def lists(text: str) -> tuple[str, str]:
    return ("default: [one]\n", f"default: [one]\nprice_lists:\n  partner: {text}\n")


LIST_FAULTS = {
    "no such model": ('{about: a, models: {uno: {per_image: "1"}}}', "models.uno", "no model is called 'uno'"),
    "nothing": ("{about: a}", "", "percent_off, models or both"),
    "no words": ("{percent_off: 10}", "", "missing required field `about`"),
    "too much off": ("{about: a, percent_off: 101}", "", "1 to 100"),
    "less than nothing off": ("{about: a, percent_off: -1}", "", "1 to 100"),
    "no whole percent": ("{about: a, percent_off: 2.5}", "percent_off", "Expected `int`"),
    "another key": ("{about: a, percentoff: 2}", "percentoff", "unknown field"),
    "no price": ("{about: a, models: {one: {}}}", "models.one", "exactly one of per_image"),
    "a price in words": ('{about: a, models: {two: {per_megapixel: "low"}}}', "models.two.per_megapixel", "decimal"),
    "a unit's price": ('{about: a, models: {one: {per_image: "1", unit_price: "1"}}}', "models.one.unit_price", "provider_cost"),
    "a word that is not sent": ('{about: a, models: {one: {per_image: "1", rates: [{when: {x: 1}, per_image: "1"}]}}}',
                                "models.one.rates.0.when.x", "takes no 'x'"),
    "percents below cost": ("{about: a, percent_off: 51}", "percent_off", "the price of one at 512x512 is 0.0098 USD"),
    "a price below cost": ('{about: a, models: {two: {per_megapixel: "0.009"}}}', "models.two",
                           "the price of two at 512x512 is 0.009 USD"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message"), LIST_FAULTS.values(), ids=LIST_FAULTS)
def test_a_fault_of_a_price_list_is_named(text: str, path: str, message: str) -> None:
    error = fault(lists(text))
    assert (error.path, message in error.message) == (
        ".".join(filter(None, ["price_lists.partner", path])),
        True,
    ), error
    assert error.line == edited(lists(text)).count("\n")


def test_a_list_may_say_why_it_is_below_cost() -> None:
    assert (
        small(lists("{about: a, percent_off: 51, below_cost: friends}")).price_lists["partner"].percent_off
        == 51
    )


def test_a_list_is_not_below_cost_where_the_models_own_price_is() -> None:
    """The model says why; but where its own price is not below cost, the list has to say so."""
    own = (PRICE, '    price: {per_image: "0.02"}\n    below_cost: dear when it is high\n')
    dear = (COST, 'provider_cost: {per_image: "0.01", rates: [{when: {quality: high}, per_image: "0.03"}]}\n')
    assert small(own, dear, (INTEGRAL, GRADED), lists("{about: a, percent_off: 50}")).price_lists.keys() == {
        "partner"
    }
    error = fault(own, dear, (INTEGRAL, GRADED), lists('{about: a, models: {one: {per_image: "0.009"}}}'))
    assert "quality high" not in error.message


def test_a_models_own_price_wins_over_the_percents() -> None:
    catalog = Catalog(small(lists('{about: a, percent_off: 10, models: {two: {per_image: "0.5"}}}')))
    one, two = catalog.model("one"), catalog.model("two")
    assert [str(catalog.price(model, "partner").per_image) for model in (one, two)] == ["0.018", "0.5"]
    assert [catalog.price(model, None) for model in (one, two)] == [one.price, two.price]
    with pytest.raises(UnknownPriceList, match="no price list 'other'"):
        catalog.price(one, "other")


def test_the_shipped_registry_has_no_list() -> None:
    assert load_registry().price_lists == {}
