"""Money, dates and percent as locales write them."""
# ruff: noqa: RUF001

from datetime import date
from decimal import Decimal

import jinja2
import pytest

from templates.locales import (
    FILTERS,
    NotWritable,
    day,
    days,
    is_rtl,
    language_of,
    money,
    number,
    percent,
    read_locale,
    upper,
)

NBSP, THIN, RLM = "\xa0", "\u202f", "\u200f"


@pytest.mark.parametrize(
    ("tag", "price", "whole", "large", "part", "when", "span"),
    [
        ("de", f"19,99{NBSP}€", f"20{NBSP}€", "1.234,5", f"25{NBSP}%", "3. Dez. 2026", "3.–9. Dez. 2026"),
        ("en-US", "€19.99", "€20", "1,234.5", "25%", "Dec 3, 2026", "Dec 3\u2009–\u20099, 2026"),
        ("en-GB", "€19.99", "€20", "1,234.5", "25%", "3 Dec 2026", "3\u2009–\u20099 Dec 2026"),
        ("fr", f"19,99{NBSP}€", f"20{NBSP}€", f"1{THIN}234,5", f"25{NBSP}%", "3 déc. 2026", "3–9 déc. 2026"),
        ("ja", "€19.99", "€20", "1,234.5", "25%", "2026年12月3日", "2026年12月3日～9日"),
        (
            "ar-EG",
            f"{RLM}١٩٫٩٩{NBSP}€",
            f"{RLM}٢٠{NBSP}€",
            "١٬٢٣٤٫٥",
            "٢٥٪\u061c",
            "٣ ديسمبر ٢٠٢٦",
            "٣–٩ ديسمبر ٢٠٢٦",
        ),
        (
            "he",
            f"{RLM}19.99{NBSP}{RLM}€",
            f"{RLM}20{NBSP}{RLM}€",
            "1,234.5",
            "25%",
            "3 בדצמ׳ 2026",
            "3–9 בדצמ׳ 2026",
        ),
        ("hi", "€19.99", "€20", "1,234.5", "25%", "3 दिस॰ 2026", "3–9 दिस॰ 2026"),
        ("zh", "€19.99", "€20", "1,234.5", "25%", "2026年12月3日", "2026年12月3日\u2009–\u20099日"),
    ],
)
def test_as_the_locale_writes_them(
    tag: str, price: str, whole: str, large: str, part: str, when: str, span: str
) -> None:
    assert money("19.99", "EUR", tag) == price
    assert money(Decimal("20.00"), "EUR", tag, whole=True) == whole
    assert number(1234.5, tag) == large
    assert percent(25, tag) == part
    assert day("2026-12-03", tag) == when
    assert days(date(2026, 12, 3), "2026-12-09", tag) == span


@pytest.mark.parametrize(
    ("value", "currency", "tag", "whole", "text"),
    [
        ("19.90", "EUR", "de", True, f"19,90{NBSP}€"),
        ("1999", "JPY", "ja", False, "￥1,999"),
        ("19.99", "usd", "en", False, "$19.99"),
        ("1234567", "INR", "hi", True, "₹12,34,567"),
        ("0.5", "KWD", "en", False, f"KWD{NBSP}0.500"),
        ("-3", "EUR", "de", True, f"-3{NBSP}€"),
        ("19.99", "CHF", "de-CH", False, f"CHF{NBSP}19.99"),
    ],
)
def test_currencies(value: str, currency: str, tag: str, whole: bool, text: str) -> None:
    assert money(value, currency, tag, whole) == text


def test_forms_of_a_day() -> None:
    assert day("2026-12-03", "en", "long") == "December 3, 2026"
    assert day("2026-12-03", "de", "MMMd") == "3. Dez."
    assert days("2026-12-03", "2027-01-09", "de", "MMMd") == "3. Dez. 2026\u2009–\u20099. Jan. 2027"
    assert days("2026-12-03", "2026-12-03", "de") == "3. Dez. 2026"


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: read_locale("xx-YY"), "xx-YY"),
        (lambda: read_locale("de-XX"), "de-XX"),
        (lambda: read_locale("../../etc"), "../../etc"),
        (lambda: money("1", "EUR", "zz"), "zz"),
        (lambda: money("1", "EURO", "de"), "EURO"),
        (lambda: money("1", "XQX", "de"), "XQX"),
        (lambda: money("many", "EUR", "de"), "many"),
        (lambda: money("NaN", "EUR", "de"), "NaN"),
        (lambda: money("1e999999", "EUR", "de"), "1e999999"),
        (lambda: number("", "de"), "''"),
        (lambda: day("2026-02-30", "de"), "2026-02-30"),
        (lambda: day("2026-12-03", "de", "nonsense"), "nonsense"),
        (lambda: days("2026-12-09", "2026-12-03", "de"), "2026-12-03"),
    ],
)
def test_what_cannot_be_written_is_named(call: object, names: str) -> None:
    with pytest.raises(NotWritable) as caught:
        call()  # type: ignore[operator]
    assert names in str(caught.value)


def test_direction_and_language() -> None:
    assert [tag for tag in ("de", "ar", "ar-EG", "he", "fa", "ur", "hi", "zh", "ja") if is_rtl(tag)] == [
        "ar",
        "ar-EG",
        "he",
        "fa",
        "ur",
    ]
    assert [language_of(tag) for tag in ("de-AT", "zh-Hant-TW", "pt_BR")] == ["de", "zh-Hant", "pt"]


@pytest.mark.parametrize(
    ("tag", "text", "capitals"),
    [
        ("en", "kış indirimi", "KIŞ INDIRIMI"),
        ("tr", "kış indirimi", "KIŞ İNDİRİMİ"),
        ("el", "χειμερινές εκπτώσεις", "ΧΕΙΜΕΡΙΝΕΣ ΕΚΠΤΩΣΕΙΣ"),
        ("el", "μαΐου", "ΜΑΪΟΥ"),
        ("de", "große Größe", "GROSSE GRÖSSE"),
        ("ar", "تخفيضات 50%", "تخفيضات 50%"),
    ],
)
def test_capitals(tag: str, text: str, capitals: str) -> None:
    assert upper(text, tag) == capitals


def test_filters_read_the_locale_of_the_variables() -> None:
    env = jinja2.Environment(autoescape=True)
    env.filters.update(FILTERS)
    template = env.from_string(
        "{{ price|money('EUR', whole=True) }} {{ 5|percent }} {{ on|days('2026-12-09') }} {{ 'i'|upper }}"
    )
    shown = template.render(price=Decimal("20"), on=date(2026, 12, 3), locale="tr")
    assert shown == "€20 %5 3–9 Ara 2026 İ"
    assert env.from_string("{{ 1.5|number }}").render(locale=None) == "1.5"
