"""For any valid input of any shipped model: each parameter accounted for, each value in range."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.loopback_fal import ENDPOINTS

from providers.base import MediaRef, revive_media
from providers.normalizer import Policy, Translation, fitting_routes, translate
from registry.errors import InvalidInputs
from registry.inputs import UnifiedInputs
from registry.load import load_registry
from registry.schema import ParameterRule, Term
from registry.validate import validate

SHIPPED = load_registry()
SEED = 7
URLS = st.sampled_from(["s3://bucket/a.jpg", "https://a.org/b.png", "upl_1", "data:image/png;base64,AAAA"])


def values(term: Term, rule: ParameterRule | None) -> st.SearchStrategy[Any]:
    enum = term.enum or (rule.enum if rule else ())
    low, high = term.min or 0, term.max if term.max is not None else 100
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": st.sampled_from([*enum, *term.values]) if enum else st.text("ab \u00e9", min_size=1).map("x".__add__),
        "integer": st.integers(int(low), int(high)),
        "number": st.floats(low, high),
        "boolean": st.booleans(),
        "reference": URLS,
        "references": st.lists(URLS, min_size=1, max_size=3),
        "loras": st.lists(st.fixed_dictionaries({"url": URLS}, optional={"scale": st.floats(-4, 4)}), min_size=1, max_size=2),
        "size": st.tuples(st.integers(16, 4096), st.integers(16, 4096)).map(lambda edges: f"{edges[0]}x{edges[1]}"),
        "ratio": st.sampled_from(["1:1", "16:9", "9:21", "20:1"]),
    }  # fmt: skip
    return kinds[term.type]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, UnifiedInputs]:
    """A model and a valid request for it: any words, in any spelling, of which no two conflict."""
    model = SHIPPED.models[draw(st.sampled_from(sorted(SHIPPED.models)))]
    rules = model.parameters()
    terms = {**SHIPPED.vocabulary} | {
        name: Term(type=rule.type or "string", about="", enum=rule.enum, min=rule.min, max=rule.max)
        for name, rule in rules.items()
        if rule.native
    }
    chosen = draw(st.sets(st.sampled_from(sorted(terms)), max_size=8)) | set(model.required)
    chosen -= {"width", "height"} if "size" in chosen else set()
    chosen -= {"loras"} if "lora_url" in chosen else {"lora_scale"}
    asked = {}
    for name in sorted(chosen):
        term = terms[name]
        asked[draw(st.sampled_from([name, *term.aliases]))] = draw(values(term, rules.get(name)))
    return model.id, validate({"inputs": asked}, model, SHIPPED.vocabulary)


def plain(value: Any) -> Any:
    """A payload as it goes over the wire."""
    if isinstance(value, MediaRef):
        return "https://files.test/a.png"
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def check_report(done: Translation, inputs: UnifiedInputs) -> None:
    """Exactly one row for each parameter that the caller gave."""
    requested = sorted(row.name for row in done.report if row.requested_as is not None)
    assert requested == sorted(word.name for word in inputs.given)


def check_payloads(model: str, inputs: UnifiedInputs, policy: Policy | None) -> None:
    """fal's own schema takes what is sent, which is written from fal's documents and not from our rows; and the
    report has a row for each parameter that was asked for.
    """
    for route in fitting_routes(SHIPPED.models[model].routes, inputs.features):
        if route.provider != "fal" or SHIPPED.models[model].status == "retired":
            continue
        try:
            done = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=SEED, policy=policy)
        except InvalidInputs:
            continue
        check_report(done, inputs)
        for call in done.calls:
            assert ENDPOINTS[route.endpoint].faults(plain(call.payload)) == [], (route.endpoint, call.payload)


def test_every_endpoint_of_fal_has_a_schema_of_its_own() -> None:
    alive = (model for model in SHIPPED.models.values() if model.status != "retired")
    ours = {r.endpoint for m in alive for r in m.routes if r.provider == "fal"}
    assert ours <= ENDPOINTS.keys()


@given(request=requests(), policy=st.sampled_from(["warn", "drop", None]))
def test_what_is_sent_is_legal(request: tuple[str, UnifiedInputs], policy: Policy | None) -> None:
    check_payloads(*request, policy)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(request=requests(), policy=st.sampled_from(["warn", "drop"]))
def test_ten_thousand_payloads_are_legal(request: tuple[str, UnifiedInputs], policy: Policy | None) -> None:
    check_payloads(*request, policy)


def within(rule: ParameterRule, value: Any) -> bool:
    if rule.shape == "loras":
        rule, scales = replace(rule, shape="value"), [item["scale"] for item in value]
        return all(within(rule, scale) for scale in scales)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low = value if rule.min is None else rule.min
        high = value if rule.max is None else rule.max
        return low <= value <= high
    return not rule.enum or value in rule.enum


def edges(payload: dict[str, Any]) -> list[int]:
    size = payload.get("image_size", payload)
    return [size[name] for name in ("width", "height") if name in size]


@given(request=requests(), policy=st.sampled_from(["warn", "drop", "error", None]))
def test_whatever_is_valid_is_accounted_for(
    request: tuple[str, UnifiedInputs], policy: Policy | None
) -> None:
    model, inputs = request
    for route in fitting_routes(SHIPPED.models[model].routes, inputs.features):
        try:
            done = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=SEED, policy=policy)
        except InvalidInputs:
            assert policy in ("error", None)
            continue
        again = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=SEED, policy=policy)
        assert again == done
        check_report(done, inputs)
        assert all(row.why for row in done.report if row.how in ("clamped", "dropped", "defaulted"))
        assert policy != "error" or not {row.how for row in done.report} & {"clamped", "dropped"}
        for name, rule in route.parameters.items():
            sent = done.payload.get(rule.send or name)
            assert sent is None or within(rule, sent)
            if sent is not None and name in ("image_url", "target_image_url"):
                assert all(isinstance(ref, MediaRef) for ref in (sent if isinstance(sent, list) else [sent]))
            if sent is not None and name == "loras":
                assert all(isinstance(item["path"], MediaRef) for item in sent)
        for edge in edges(done.payload):
            assert route.size.min <= edge <= route.size.max
            assert edge % route.size.multiple_of == 0
        assert revive_media(msgspec.json.decode(msgspec.json.encode(done.payload))) == done.payload
        asked = [call.payload.get("num_images", call.payload.get("n", 1)) for call in done.calls]
        assert [call.num_images for call in done.calls] == asked
        assert done.num_images == sum(asked)
