"""What of a text is set, and where it may break."""

# ruff: noqa: RUF001 - these characters are the point

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates.characters import break_units, clusters, normal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\u2003c  ", "a b c"),
        ("a\r\nb\rc\u2028d\x0be\x85f", "a\nb\nc\nd\ne\nf"),
        (" a \n\n \n b ", "a\nb"),
        ("e\u0301", "é"),
        ("\u212b", "Å"),
        ("a\x00b\x1bc\x7f\x9fd", "abcd"),
        ("a\u202eb\u2066c\u2069\ufeffd\u00ade", "abcde"),
        ("50\xa0€ 50\u202f€", "50\xa0€ 50\u202f€"),
        ("\xa0a\xa0", "a"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("\u200d\ufe0fa \u200db", "a b"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", None),
        ("a\U000e0061\U000e0062\U000e007f", "a"),
        ("日本\u3000語", "日本\u3000語"),
        ("日 \u3000 語", "日 語"),
        ("ก\u200bข", "ก\u200bข"),
        ("C\u200e++", "C\u200e++"),
        ("", ""),
        (" \u200b\u3000\n\u2060", "\u2060"),
    ],
)
def test_normal(text: str, expected: str | None) -> None:
    assert normal(text) == (text if expected is None else expected)


@given(
    st.text(st.characters(exclude_categories=()) | st.sampled_from(" \u3000\u200b\u200d\ufe0f\n\xa0\u0301"))
)
def test_normal_twice_is_normal_once(text: str) -> None:
    once = normal(text)
    assert normal(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_clusters_and_units_are_all_of_the_text(text: str) -> None:
    assert "".join(clusters(text)) == text
    assert "".join(break_units(text)) == text


def test_clusters() -> None:
    assert list(clusters("ae\u0301 👨\u200d👩\u200d👧क्षिx🇩🇪🇫🇷")) == [
        "a",
        "e\u0301",
        " ",
        "👨\u200d👩\u200d👧",
        "क्षि",
        "x",
        "🇩🇪",
        "🇫🇷",
    ]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Winter Sale 50% off", "Winter |Sale |50% |off"),
        ("up to -20%, $5.99 (was $10)", "up |to |-20%, |$5.99 |(was |$10)"),
        ("only 50 € and 5 % more", "only |50 € |and |5 % |more"),
        ("50\xa0kr 10\u202f000", "50\xa0kr |10\u202f000"),
        ("state-of-the-art", "state-|of-|the-|art"),
        ("“a” « b » ‘c’", "“a” |« b » |‘c’"),
        ("日本語の章、です。「例」", "日|本|語|の|章、|で|す。|「例」"),
        ("한국어 텍스트 A반 B", "한국어 |텍스트 |A반 |B"),
        ("ก\u200bข สวัสดี", "ก\u200b|ข |สวัสดี"),
        ("हिन्दी में", "हिन्दी |में"),
        ("שלום עולם", "שלום |עולם"),
        ("🎉🎉 👍🏽", "🎉|🎉 |👍🏽"),
        ("", ""),
    ],
)
def test_break_units(text: str, units: str) -> None:
    assert break_units(text) == [unit for unit in units.split("|") if unit]
