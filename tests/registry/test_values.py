"""One value against one word of the vocabulary."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.inputs import WORD_TYPES, Lora, UnifiedInputs
from registry.load import load_registry
from registry.schema import ParameterRule, Term
from registry.sizes import parse_ratio, parse_size
from registry.values import READERS, BadValue, read_native, read_value

WORDS = load_registry().vocabulary
URL = "https://a.org/b.png"
HUGE = 10**400  # more than a float holds


@pytest.mark.parametrize(
    ("word", "value", "read"),
    [
        ("prompt", "  a cat \n", "a cat"),
        ("width", 1024, 1024),
        ("guidance_scale", 3, 3.0),
        ("guidance_scale", 3.5, 3.5),
        ("lora_scale", -4, -4.0),
        ("optimize_prompt", False, False),
        ("image_url", URL, URL),
        ("image_url", "data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ("image_url", "s3://bucket/k", "s3://bucket/k"),
        ("image_url", "upl_1", "upl_1"),
        ("reference_image_urls", [URL], (URL,)),
        ("loras", [{"url": URL}], (Lora(url=URL),)),
        ("loras", [{"url": URL, "scale": 2}], (Lora(url=URL, scale=2.0),)),
        ("size", "1024x768", (1024, 768)),
        ("size", "1024X768", (1024, 768)),
        ("size", " 1024 * 768 ", (1024, 768)),
        ("size", "1024\u00d7768", (1024, 768)),
        ("size", {"width": 8, "height": 9}, (8, 9)),
        ("aspect_ratio", "16:9", "16:9"),
        ("aspect_ratio", "016:09", "16:9"),
        ("resolution", "2K", "2K"),
        ("scheduler", "k_euler", "euler"),
        ("scheduler", "DPM++ 2M", "dpmpp_2m"),
        ("scheduler", "K_EULER", "euler"),
        ("scheduler", "of tomorrow", "of tomorrow"),
        ("output_format", "jpg", "jpeg"),
        ("output_format", " PNG ".strip().lower(), "png"),
    ],
)
def test_a_value_is_read(word: str, value: Any, read: Any) -> None:
    found = read_value(WORDS[word], value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("word", "value", "code", "inside"),
    [
        ("prompt", 7, "wrong_type", ""),
        ("prompt", {"text": {"a": []}}, "wrong_type", ""),
        ("prompt", ["a"], "wrong_type", ""),
        ("prompt", "a\x00b", "not_allowed", ""),
        ("prompt", "a\ud800b", "not_allowed", ""),
        ("prompt", "a" * 10_001, "out_of_range", ""),
        ("width", "1024", "wrong_type", ""),
        ("width", 1024.0, "wrong_type", ""),
        ("width", True, "wrong_type", ""),
        ("width", 15, "out_of_range", ""),
        ("width", HUGE, "out_of_range", ""),
        ("width", -HUGE, "out_of_range", ""),
        ("width", math.nan, "wrong_type", ""),
        ("seed", -1, "out_of_range", ""),
        ("seed", 1 << 53, "out_of_range", ""),
        ("guidance_scale", True, "wrong_type", ""),
        ("guidance_scale", "7", "wrong_type", ""),
        ("guidance_scale", math.nan, "out_of_range", ""),
        ("guidance_scale", math.inf, "out_of_range", ""),
        ("guidance_scale", HUGE, "out_of_range", ""),
        ("optimize_prompt", 1, "wrong_type", ""),
        ("optimize_prompt", "true", "wrong_type", ""),
        ("image_url", "", "invalid_reference", ""),
        ("image_url", "file:///etc/passwd", "invalid_reference", ""),
        ("image_url", " https://a.org", "invalid_reference", ""),
        ("image_url", "https://a.org/\r\nX: y", "invalid_reference", ""),
        ("image_url", "https://a.org/\ud800", "invalid_reference", ""),
        ("image_url", {"url": URL}, "wrong_type", ""),
        ("reference_image_urls", URL, "wrong_type", ""),
        ("reference_image_urls", [], "wrong_type", ""),
        ("reference_image_urls", [URL] * 17, "out_of_range", ""),
        ("reference_image_urls", [URL, 7], "wrong_type", "/1"),
        ("reference_image_urls", [[URL]], "wrong_type", "/0"),
        ("loras", {"url": URL}, "wrong_type", ""),
        ("loras", [], "wrong_type", ""),
        ("loras", [{"url": URL}] * 17, "out_of_range", ""),
        ("loras", [URL], "wrong_type", "/0"),
        ("loras", [{"scale": 1}], "wrong_type", "/0"),
        ("loras", [{"url": URL, "weight": 1}], "wrong_type", "/0"),
        ("loras", [{"url": URL}, {"url": "x"}], "invalid_reference", "/1/url"),
        ("loras", [{"url": URL, "scale": None}], "wrong_type", "/0/scale"),
        ("loras", [{"url": URL, "scale": 9}], "out_of_range", "/0/scale"),
        ("loras", [{"url": URL, "scale": math.nan}], "out_of_range", "/0/scale"),
        ("size", "big", "wrong_type", ""),
        ("size", "0x0", "wrong_type", ""),
        ("size", "1024x0", "wrong_type", ""),
        ("size", "1024x", "wrong_type", ""),
        ("size", "-1x1", "wrong_type", ""),
        ("size", "100000x1", "wrong_type", ""),
        ("size", "\u0661\u0660x\u0661\u0660", "wrong_type", ""),
        ("size", 1024, "wrong_type", ""),
        ("size", [1024, 768], "wrong_type", ""),
        ("size", {"width": 8}, "wrong_type", ""),
        ("size", {"width": 8, "height": "9"}, "wrong_type", "/height"),
        ("size", {"width": 0, "height": 9}, "out_of_range", "/width"),
        ("size", {"width": HUGE, "height": 9}, "out_of_range", "/width"),
        ("aspect_ratio", "0:1", "wrong_type", ""),
        ("aspect_ratio", "1:0", "wrong_type", ""),
        ("aspect_ratio", "1:21", "wrong_type", ""),
        ("aspect_ratio", "wide", "wrong_type", ""),
        ("aspect_ratio", 1.5, "wrong_type", ""),
        ("resolution", "8K", "not_allowed", ""),
        ("output_format", "", "not_allowed", ""),
        ("output_format", "x" * 10_240, "not_allowed", ""),
    ],
)
def test_a_bad_value_says_what_is_wrong(word: str, value: Any, code: str, inside: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_value(WORDS[word], value)
    assert (caught.value.code, caught.value.inside) == (code, inside)
    assert caught.value.allowed
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("word", ["seed", "width", "guidance_scale"])
def test_an_integer_too_long_to_be_written_is_refused(word: str) -> None:
    with pytest.raises(BadValue, match="out of range"):
        read_value(WORDS[word], 10**5000)


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1, read_value(WORDS["guidance_scale"], -0.0)) == 1


@pytest.mark.parametrize(
    ("term", "allowed"),
    [
        (Term(type="number", about="", min=1), "at least 1"),
        (Term(type="number", about="", max=-1), "at most -1"),
        (Term(type="number", about="", min=1, max=2), "at least 1 and at most 2"),
        (Term(type="number", about=""), "a finite number"),
    ],
)
def test_a_range_is_told(term: Term, allowed: str) -> None:
    value = math.inf if term.min is None and term.max is None else 0
    with pytest.raises(BadValue) as caught:
        read_value(term, value)
    assert caught.value.allowed == allowed


@pytest.mark.parametrize(
    ("rule", "value", "read"),
    [
        (ParameterRule(native=True, type="boolean"), True, True),
        (ParameterRule(native=True, type="string", enum=("1", "2")), "1", "1"),
        (ParameterRule(native=True, type="integer", enum=("1", "2")), 2, 2),
        (ParameterRule(native=True, type="number", min=0, max=1), 1, 1.0),
        (ParameterRule(native=True), "text", "text"),
    ],
)
def test_a_native_is_read(rule: ParameterRule, value: Any, read: Any) -> None:
    assert read_native(rule, value) == read


@pytest.mark.parametrize(
    ("rule", "value", "code"),
    [
        (ParameterRule(native=True, type="string", enum=("1", "2")), 1, "wrong_type"),
        (ParameterRule(native=True, type="string", enum=("1", "2")), "7", "not_allowed"),
        (ParameterRule(native=True, type="integer"), 1 << 63, "out_of_range"),
        (ParameterRule(native=True, type="number"), math.inf, "out_of_range"),
        (ParameterRule(native=True, type="number"), HUGE, "out_of_range"),
        (ParameterRule(native=True, type="number"), math.nan, "out_of_range"),
    ],
)
def test_a_bad_native_says_so(rule: ParameterRule, value: Any, code: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_native(rule, value)
    assert caught.value.code == code


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=40)
    | st.sampled_from([HUGE, "0x0", "1:1", URL, "data:", "1K"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(word=st.sampled_from(sorted(WORDS)), value=ANYTHING)
def test_whatever_is_given_is_read_or_refused(word: str, value: Any) -> None:
    try:
        read_value(WORDS[word], value)
    except BadValue as bad:
        str(bad).encode()


def test_every_type_has_a_reader_and_every_field_a_type() -> None:
    fields = set(UnifiedInputs.__struct_fields__) - {"native", "given"}
    assert fields | {"size", "lora_url", "lora_scale"} == WORD_TYPES.keys()
    assert set(WORD_TYPES.values()) <= READERS.keys()


@pytest.mark.parametrize("text", ["1x1\n", "٣x٣", "1 1", "x", "1:1", ""])
def test_what_is_no_size(text: str) -> None:
    assert parse_size(text.replace("\n", "\nx")) is None


@pytest.mark.parametrize("text", ["1x1", "٣:٣", "1:", ":1", "-1:1", "1.5:1", "12345:1", ""])
def test_what_is_no_ratio(text: str) -> None:
    assert parse_ratio(text) is None
