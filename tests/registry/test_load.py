"""Every fault of a registry file stops the load, at its line."""

import math
from decimal import Decimal
from pathlib import Path

import pytest
from support.registry_text import TEXT, edited, small

from registry.errors import RegistryError
from registry.load import load_registry, parse_registry

# (what is replaced, by what, a word of the line that is named, the path, part of the message)
FAULTS = {
    # keys
    "unknown section": ("tiers:\n", "extras: {}\ntiers:\n", "extras", "extras", "unknown section"),
    "no section": ('tiers:\n  local: {memory_gb: 4, per_second: "0"}\n', "", None, "tiers", "missing or empty"),
    "section is a list": ("default: [one]", "default: {a: 1}", "{a: 1}", "default", "Expected `array`"),
    "key of a provider": ("{type: diffusers_modal}", "{type: x, kee: K}", "kee", "providers.own.kee", "unknown"),
    "key of a tier": ("memory_gb: 4", "memory_gb: 4, cpu: 2", "cpu", "tiers.local.cpu", "unknown field"),
    "key of a word": ("about: Count", "aboot: Count", "aboot", "vocabulary.num_images.aboot", "unknown"),
    "key of a dialect": ("extends: base", "extend: base", "extend:", "dialects.more.extend", "unknown field"),
    "key of a model": ("description: First", "name: First", "name: First", "models.one.name", "unknown field"),
    "key of a route": ("endpoint: e/two", "endpont: x", "endpont: x", "models.two.routes.0.endpont", "unk"),
    "key of a pipeline": ("class: P", "klass: P", "klass", "models.one.routes.0.pipeline.klass", "unknown"),
    "key of a price": ('{per_image: "0.02"}', '{each: "1"}', "each", "models.one.price.each", "unknown"),
    "key of an intent": ("about: Fast", "abut: Fast", "abut", "intents.quick.abut", "unknown field"),
    "key of a size": ("multiple_of: 8", "multiple: 8", "multiple:", "dialects.base.size.multiple", "unknown"),
    "key of a rule": ("{max: 100}", "{top: 1}", "top", "dialects.more.parameters.seed.top", "unknown field"),
    "missing key": ("description: First\n", "\n", "one:", "models.one", "missing required field `description`"),
    "number key": ("prompt: {}", "7: {}", "7: {}", "dialects.base.parameters.7", "must be text"),
    "yes key": ("prompt: {}", "yes: {}", "yes: {}", "dialects.base.parameters.True", "must be text"),
    "duplicate section": ("default: [one]", "tiers: {}", "tiers: {}", "tiers", "first on line 3"),
    "duplicate deep": (
        "      seed: {max: 100}\n",
        "      seed: {max: 100}\n      seed: {max: 7}\n",
        "{max: 7}",
        "dialects.more.parameters.seed",
        "duplicate key 'seed'",
    ),
    "rate of a GPU second": (
        'provider_cost: {per_image: "0.01"}\n        pipeline',
        'provider_cost: {per_gpu_second: "0.1", typical_seconds: "1"}\n        pipeline',
        "per_gpu_second",
        "models.one.routes.0.provider_cost.per_gpu_second",
        "a second of the tier local costs 0",
    ),
    "seconds of no tier": ('provider_cost: {per_megapixel: "0.01"}', 'provider_cost: {typical_seconds: "1"}',
                           "typical_seconds", "models.two.routes.0.provider_cost", "exactly one of per_image"),
    "seconds and another rate": ('{per_image: "0.01"}', '{per_image: "0.01", typical_seconds: "1"}',
                                 "typical_seconds", "models.one.routes.0.provider_cost", "go together"),
    # YAML that is not used here
    "anchor": ("prompt: {}", "prompt: &p {}", "&p", "", "anchors and aliases"),
    "alias": ("prompt: {}", "prompt: *p", "*p", "", "anchors and aliases"),
    "merge key": ("prompt: {}", "<<: {}", "<<", "", "not YAML"),
    "tag": ("about: Words", "about: !py Words", "!py", "", "not YAML"),
    "not YAML": ("default: [one]", "default: [one", None, "", "not YAML"),
    "second document": ("default: [one]", "default: [one]\n---\na: 1", "---", "", "not YAML"),
    "date": ("about: Words", "about: 2026-01-01", "2026-01-01", "vocabulary.prompt.about", "date has no place"),
    "no such date": ("about: Words", "about: 2026-13-45", "2026-13-45", "vocabulary.prompt.about", "cannot be read"),
    "huge integer": ("{max: 100}", f"{{max: 1{'0' * 5000}}}", "max: 1000", "dialects.more.parameters.seed.max", ""),
    "NaN": ("{max: 100}", "{max: .nan}", ".nan", "dialects.more.parameters.seed.max", "not a finite number"),
    "infinity": ("{max: 100}", "{max: -.inf}", "-.inf", "dialects.more.parameters.seed.max", "not a finite"),
    "control character": ("about: Words", "about: a\x07b", "about: a", "", "cannot stand in YAML"),
    # types
    "text for a number": ("memory_gb: 4", "memory_gb: four", "four", "tiers.local.memory_gb", "Expected `int`"),
    "deep in a mapping": (
        "{max: 50, default: 20}",
        "{max: lots}",
        "lots",
        "dialects.base.parameters.num_inference_steps.max",
        "Expected `int | float | null`",
    ),
    "deep in a route": (
        "{enum: [euler, ddim]}",
        "{enum: [euler, 3]}",
        "euler, 3",
        "models.one.routes.0.parameters.scheduler.enum.1",
        "Expected `str`",
    ),
    "word of another type": ("prompt: {type: string, matters: picture, max_length: 100,", "prompt: {type: integer,",
                             "integer, about: Words", "vocabulary.prompt.type", "its type is string"),
    "word that nobody knows": ("  prompt: {type", "  tile: {type: boolean, about: x}\n  prompt: {type", "tile",
                               "vocabulary.tile", "no word"),
    "size without edges": ("  width: {type: integer, matters: picture, min: 16, max: 4096, about: Pixels}\n", "",
                           "size: {type", "vocabulary.size", "needs width and height"),
    "limits of text": ("values: {k_euler", "min: 1, values: {k_euler", "k_euler", "vocabulary.scheduler", "numbers"),
    "value that is not in the enum": ("enum: [1K, 2K]", "enum: [1K], values: {k: 9K}", "9K", "vocabulary.resolution",
                                      "not in the enum"),
    # names that lead nowhere
    "extends nowhere": ("extends: base", "extends: nix", "extends", "dialects.more.extends", "no dialect is called"),
    "extends itself": ("extends: base", "extends: more", "extends", "dialects.more.extends", "extend itself"),
    "unknown dialect": ("dialect: more", "dialect: nix", "nix", "models.one.routes.0.dialect", "no dialect is called"),
    "unknown provider": ("provider: own\n", "provider: nix\n", "nix", "models.one.routes.0.provider", "known: own"),
    "unknown tier": ("tier: local", "tier: H100", "H100", "models.one.routes.0.pipeline.tier", "known: local"),
    "intent to nowhere": ("[two, one]", "[two, three]", "three", "intents.quick.models.1", "no model is called"),
    "intent without models": ("[two, one]", "[]", "Fast", "intents.quick.models", "at least one model"),
    "default to nowhere": ("default: [one]", "default: [three]", "three", "default.0", "no model is called"),
    "intent to a retired model": ("    aliases: [uno]\n", "    status: retired\n", "quick:", "intents.quick.models.1", "retired"),
    "required that no route takes": ("aliases: [uno]", "required: [image_url]", "[image_url]", "models.one.required",
                                     "no route"),
    "required that nobody knows": ("aliases: [uno]", "required: [x]", "[x]", "models.one.required", "vocabulary"),
    "no routes": ('      - {provider: own, endpoint: e/two, dialect: base, provider_cost: {per_megapixel: "0.01"}}',
                  "      []", "routes:\n      []", "models.two.routes", "at least one route"),
    # clashes
    "alias is a model": ("aliases: [uno]", "aliases: [two]", "[two]", "models.one.aliases", "already names 'two'"),
    "alias is its own id": ("aliases: [uno]", "aliases: [one]", "aliases: [one]", "models.one.aliases", "already names 'one'"),
    "spelling means two": ("aliases: [steps]", "aliases: [n]", "about: Steps", "vocabulary.num_inference_steps.aliases",
                           "already means 'num_images'"),
    "two under one name": ("{max: 100}", "{send: prompt}", "{send: prompt}", "dialects.more.parameters.seed", "already carries prompt"),
    "parameter over the size": ("{max: 100}", "{send: width}", "{send: width}", "dialects.more.parameters.seed", "already carries the size"),
    # parameters
    "not in the vocabulary": ("scheduler: {enum", "sampler: {enum", "sampler", "models.one.routes.0.parameters.sampler",
                              "native: true"),
    "native that is known": ("{max: 100}", "{native: true, type: integer}", "{native: true, type: integer}", "dialects.more.parameters.seed", "it is not native"),
    "native without a type": ("type: boolean, about: Seamless", "about: Seamless", "about: Seamless", "dialects.more.parameters.tiling", "needs its type"),
    "type of a known one": ("{max: 100}", "{type: integer}", "{type: integer}", "dialects.more.parameters.seed", "for native parameters"),
    "folded word": ("{enum: [euler, ddim]}", "{}\n          lora_url: {}", "lora_url: {}",
                    "models.one.routes.0.parameters.lora_url", "loras in its place"),
    "shape of LoRAs": ("{enum: [euler, ddim]}", "{shape: loras}", "shape: loras",
                       "models.one.routes.0.parameters.scheduler", "loras alone"),
    "min above max": ("{max: 100}", "{min: 101, max: 100}", "101", "dialects.more.parameters.seed", "above max"),
    "range of text": ("{enum: [euler, ddim]}", "{max: 3}", "{max: 3}", "models.one.routes.0.parameters.scheduler",
                      "of numbers alone"),
    "enum of a number": ("{max: 100}", "{enum: [few]}", "{enum: [few]}", "dialects.more.parameters.seed.enum", "holds integers"),
    "enum of a boolean": ("type: boolean", "enum: [a], type: boolean", "enum: [a], type: boolean", "dialects.more.parameters.tiling", "text, ratios and integers"),
    "default of another type": ("default: 20", "default: many", "default: many", "dialects.base.parameters.num_inference_steps.default", "default does not fit"),
    "default scale out of range": ("{enum: [euler, ddim]}", "{}\n          loras: {min: 0, default: [{url: upl_1, scale: -1}]}",
                                   "scale: -1", "models.one.routes.0.parameters.loras.default", "not a value that it takes"),
    "default out of range": ("default: 20}", "default: 51}", "51}", "dialects.base.parameters.num_inference_steps.default", "not a value that it takes"),
    # sizes
    "no size": ("    size: {style: width_height, default: 512x512, min: 64, max: 1024, multiple_of: 8}\n", "", "- provider: own",
                "models.one.routes.0", "how a size is sent"),
    "no default size": ("default: 512x512, ", "", "size: {style: width_height, min", "dialects.base.size", "size.default is missing"),
    "default is no size": ("512x512", "big", "big", "dialects.base.size", "size.default is missing"),
    "default below min": ("512x512", "32x512", "32x512", "dialects.base.size", "not within 64..1024"),
    "default between steps": ("512x512", "510x512", "510x512", "dialects.base.size", "in steps of 8"),
    "steps of nothing": ("multiple_of: 8", "multiple_of: 0", "multiple_of: 0", "dialects.base.size", "1 or more"),
    "a drawn size is none": ("class: P,", "class: P, sizes: [512x512, big],", "big", "models.one.routes.0.pipeline.sizes.1",
                             "'big' is no size"),
    "the default is not drawn": ("class: P,", "class: P, sizes: [256x256],", "256x256", "models.one.routes.0.pipeline.sizes.0",
                                 "the model's default size, 512x512"),
    "no edge fits": ("multiple_of: 8", "multiple_of: 2000", "multiple_of: 2000", "dialects.base.size", "no edge fits"),
    # money
    "no price": ('    price: {per_image: "0.02"}\n', "", "one:", "models.one", "missing price"),
    "no cost": ('provider_cost: {per_image: "0.01"}\n', "\n", "provider: own\n", "models.one.routes.0", "provider_cost"),
    "two rates": ('{per_image: "0.02"}', '{per_image: "1", per_megapixel: "1"}', '"1", per', "models.one.price",
                  "exactly one"),
    "negative price": ('{per_image: "0.02"}', '{per_image: "-1"}', '"-1"', "models.one.price", "0 or more"),
    "NaN price": ('{per_image: "0.02"}', '{per_image: "NaN"}', "NaN", "models.one.price", "number of dollars"),
    "price in words": ('{per_image: "0.02"}', '{per_image: "cheap"}', "cheap", "models.one.price.per_image", "decimal"),
    "GPU without seconds": ('{per_image: "0.01"}', '{per_gpu_second: "1"}', "per_gpu_second",
                            "models.one.routes.0.provider_cost", "go together"),
    "negative seconds": ('{per_image: "0.01"}', '{per_gpu_second: "1", typical_seconds: "-9"}', '"-9"',
                         "models.one.routes.0.provider_cost", "above 0"),
    "negative tier": ('per_second: "0"', 'per_second: "-1"', '"-1"', "tiers.local", "0 or more"),
    "price below cost": ('{per_image: "0.02"}', '{per_image: "0.001"}', "0.001", "models.one.price", "below_cost"),
    "below cost at the largest": ('provider_cost: {per_megapixel: "0.01"}', 'provider_cost: {per_image: "0.03"}',
                                  '{per_megapixel: "0.02"}', "models.two.price", "below the provider's"),
}  # fmt: skip


def line_of(text: str, word: str) -> int:
    assert text.count(word) == 1, f"{word!r} stands {text.count(word)} times"
    return text.count("\n", 0, text.index(word)) + 1


@pytest.mark.parametrize(("old", "new", "word", "path", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line(
    old: str, new: str, word: str | None, path: str, message: str
) -> None:
    text = edited((old, new))
    with pytest.raises(RegistryError) as caught:
        parse_registry(text, "small.yaml")
    error = caught.value
    assert message in error.message
    assert error.path == path
    if word is not None:
        assert error.line == line_of(text, word)
        assert str(error).startswith(f"small.yaml:{error.line}: ")


@pytest.mark.parametrize("text", ["", "[]", "hello", "7", "null", "---\n"])
def test_a_file_is_a_mapping(text: str) -> None:
    with pytest.raises(RegistryError, match="the file is a mapping"):
        parse_registry(text, "small.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#" * (1 << 20) + "\n", "larger than 1 MiB"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: \ud800", "cannot stand in YAML"),
        ("? [1]\n: 2", "list has no place here"),
    ],
    ids=["large", "deep", "surrogate", "list as key"],
)
def test_a_hostile_text_is_a_registry_error(text: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        parse_registry(text, "small.yaml")


def test_a_cycle_of_dialects_is_named() -> None:
    text = edited(("  base:\n", "  base:\n    extends: more\n"))
    with pytest.raises(RegistryError, match="cannot extend itself") as caught:
        parse_registry(text, "small.yaml")
    assert caught.value.line in (line_of(text, "extends: more"), line_of(text, "extends: base"))


def test_a_long_chain_of_dialects_is_refused() -> None:
    chain = "".join(f"  d{i}: {{extends: d{i + 1}}}\n" for i in range(3000)) + "  d3000: {}\n"
    with pytest.raises(RegistryError, match="more than 20 dialects"):
        parse_registry(edited(("dialects:\n", "dialects:\n" + chain)), "small.yaml")


def test_natives_of_one_name_have_one_type() -> None:
    route = '\n      - {provider: own, endpoint: e, dialect: base, provider_cost: {per_image: "0"},'
    route += "\n         parameters: {tiling: {native: true, type: string}}}\n"
    with pytest.raises(RegistryError, match="another type on an earlier route"):
        parse_registry(edited(("[euler, ddim]}\n", "[euler, ddim]}" + route)), "small.yaml")


def test_below_cost_is_accepted_with_a_reason() -> None:
    catalogue = small(('{per_image: "0.02"}', '{per_image: "0.001"}\n    below_cost: an offer'))
    assert catalogue.models["one"].below_cost == "an offer"


def test_a_markup_makes_a_price() -> None:
    text = edited(('    price: {per_image: "0.02"}\n', ""))
    catalogue = parse_registry(text, "small.yaml", markup=Decimal("1.5"))
    assert catalogue.models["one"].price.per_image == Decimal("0.015")


@pytest.mark.parametrize("markup", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
def test_a_markup_is_above_zero(markup: Decimal) -> None:
    with pytest.raises(RegistryError, match="above 0"):
        parse_registry(TEXT, "small.yaml", markup=markup)


def test_a_markup_below_one_sells_below_cost() -> None:
    text = edited(('    price: {per_image: "0.02"}\n', ""))
    with pytest.raises(RegistryError, match="below the provider's"):
        parse_registry(text, "small.yaml", markup=Decimal("0.5"))


def test_a_dialect_is_laid_over_what_it_extends() -> None:
    catalogue = small(
        ("extends: base\n    parameters:", "extends: base\n    parameters:\n      num_inference_steps: null"),
        (
            "{enum: [euler, ddim]}\n",
            "{enum: [euler]}\n        size: {max: 2048}\n        constants: {sync: false}\n",
        ),
    )
    route = catalogue.models["one"].routes[0]
    assert set(route.parameters) == {"prompt", "seed", "tiling", "scheduler"}
    assert (route.size.min, route.size.max, route.size.default) == (64, 2048, "512x512")
    assert route.constants == {"sync": False}
    assert route.parameters["seed"].max == 100
    assert "num_inference_steps" in catalogue.models["two"].routes[0].parameters


RATED = (
    ('per_second: "0"', 'per_second: "0.001"'),
    (
        'provider_cost: {per_image: "0.01"}\n        pipeline',
        'provider_cost: {typical_seconds: "7"}\n        pipeline',
    ),
)


def test_a_gpu_second_costs_what_the_tiers_second_costs() -> None:
    cost = small(*RATED).models["one"].routes[0].provider_cost
    assert (cost.per_gpu_second, cost.typical_seconds) == (Decimal("0.001"), Decimal(7))
    written = ('{typical_seconds: "7"}', '{per_gpu_second: "0.001", typical_seconds: "7"}')
    again = parse_registry(edited(*RATED).replace(*written), "r.yaml")
    assert again.models["one"].routes[0].provider_cost == cost


def test_a_price_above_cost_and_below_it_is_seen_with_the_tiers_rate() -> None:
    without = ('    price: {per_image: "0.02"}\n', "")
    sold = parse_registry(edited(*RATED, without), "r.yaml", markup=Decimal(2)).models["one"].price
    assert sold.per_gpu_second == Decimal("0.002")
    with pytest.raises(RegistryError, match=r"below the provider's 0\.021"):
        small(RATED[0], (RATED[1][0], RATED[1][1].replace('"7"', '"21"')))


def test_the_shipped_file_loads() -> None:
    catalogue = load_registry()
    assert {"flux-pro", "flux-dev", "flux-lora", "face-swap", "image-to-image"} <= catalogue.models.keys()
    assert "embedded-mini" in catalogue.default


def test_the_version_follows_the_text() -> None:
    assert small().version == small().version
    assert small().version != small(("First", "Premier")).version


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(TEXT)
    assert load_registry(file) == small()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"], ids=["absent", "not UTF-8"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "models.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RegistryError, match="cannot be read") as caught:
        load_registry(file)
    assert str(file) in str(caught.value)


def test_no_shipped_number_is_a_float_of_money() -> None:
    for model in load_registry().models.values():
        rates = (model.price.per_image, model.price.per_megapixel, model.price.per_gpu_second)
        assert all(rate is None or isinstance(rate, Decimal) for rate in rates)
        assert math.isclose(sum(rate is not None for rate in rates), 1)
