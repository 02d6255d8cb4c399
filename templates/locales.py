"""Money, numbers, percent and dates as a locale writes them; its direction and its capitals.

A locale is a BCP 47 tag as callers give it: `de`, `pt-BR`, `ar-EG`, `zh-Hant`. The functions are
Babel's data; `FILTERS` are these as filters of a template, which read `locale` of its variables.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2 import pass_context
from jinja2.runtime import Context

if TYPE_CHECKING:
    from babel import Locale

__all__ = [
    "FILTERS",
    "NotWritable",
    "day",
    "days",
    "is_rtl",
    "language_of",
    "money",
    "number",
    "percent",
    "read_locale",
    "upper",
]

DEFAULT = "en"

Amount = str | int | float | Decimal
When = str | date

# The digit nought of the numbering systems that CLDR gives to a language by default. Babel knows
# their separators and not their digits.
NOUGHTS = {"latn": 0x30, "arab": 0x660, "arabext": 0x6F0, "deva": 0x966, "beng": 0x9E6, "mymr": 0x1040}


class NotWritable(ValueError):
    """A value is not what a locale can write: no amount, no date, an unknown currency or locale."""


@lru_cache(maxsize=256)
def read_locale(tag: str) -> "Locale":
    """The locale that a tag names.

    Raises:
        NotWritable: nothing is known of it; the message names it.
    """
    from babel import Locale, UnknownLocaleError

    if not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}", tag):
        raise NotWritable(f"{tag[:40]!r} is no locale: write it like de, pt-BR or zh-Hant")
    try:
        return Locale.parse(tag.replace("_", "-"), sep="-")
    except (UnknownLocaleError, ValueError) as error:
        raise NotWritable(f"no locale {tag!r} is known") from error


def language_of(tag: str) -> str:
    """Its language, with the script where the tag says one: `de`, `zh-Hant`."""
    locale = read_locale(tag)
    return f"{locale.language}-{locale.script}" if locale.script else str(locale.language)


def is_rtl(tag: str) -> bool:
    """Whether it is written from right to left."""
    return read_locale(tag).text_direction == "rtl"


def money(value: Amount, currency: str, tag: str = DEFAULT, whole: bool = False) -> str:
    """An amount of money: `19,99 €`.

    Args:
        value: the amount, in the currency's unit.
        currency: its ISO 4217 code.
        tag: the locale.
        whole: leave the decimals out where they are nought: `20 €`.

    Raises:
        NotWritable: it is no amount, the currency or the locale is unknown.
    """
    from babel.numbers import format_currency, is_currency

    amount, locale = _decimal(value), read_locale(tag)
    code = currency.strip().upper()
    if not is_currency(code):
        raise NotWritable(f"no currency {currency[:40]!r} is known: write its ISO 4217 code, like EUR")
    if whole and amount == amount.to_integral_value():
        pattern = re.sub(r"\.0+", "", locale.currency_formats["standard"].pattern)
        text = format_currency(
            amount, code, pattern, locale, currency_digits=False, numbering_system=_system(locale)
        )
    else:
        text = format_currency(amount, code, locale=locale, numbering_system=_system(locale))
    # Where a currency has no sign, its letters stand apart from the number.
    text = re.sub(rf"{code}(?=\d)", f"{code}\u00a0", re.sub(rf"(?<=\d){code}", f"\u00a0{code}", text))
    return _digits(text, locale)


def number(value: Amount, tag: str = DEFAULT) -> str:
    """A number: `1.234,5`.

    Raises:
        NotWritable: it is none, or the locale is unknown.
    """
    from babel.numbers import format_decimal

    amount, locale = _decimal(value), read_locale(tag)
    text = format_decimal(amount, locale=locale, decimal_quantization=False, numbering_system=_system(locale))
    return _digits(text, locale)


def percent(value: Amount, tag: str = DEFAULT) -> str:
    """Hundredths: 25 is `25 %`.

    Raises:
        NotWritable: it is no number, or the locale is unknown.
    """
    from babel.numbers import format_percent

    amount, locale = _decimal(value) / 100, read_locale(tag)
    system = _system(locale)
    text = format_percent(amount, locale=locale, decimal_quantization=False, numbering_system=system)
    symbols = locale.number_symbols[system]
    # Babel writes its own minus, without the marks that keep it beside its number from the right too.
    text = text.replace("-", symbols.get("minusSign", "-"), 1) if amount < 0 else text
    return _digits(text.replace("%", symbols.get("percentSign", "%")), locale)


def day(value: When, tag: str = DEFAULT, form: str = "medium") -> str:
    """A date: `3. Dez. 2026`.

    Args:
        value: the date, or as ISO 8601 writes it.
        tag: the locale.
        form: `medium`, `long`, `short` or `full`, or a skeleton of CLDR: `MMMd` is day and month.

    Raises:
        NotWritable: it is no date, or the locale is unknown.
    """
    from babel.dates import format_date, format_skeleton

    at, locale = _date(value), read_locale(tag)
    if form in ("short", "long", "full"):
        return _digits(format_date(at, form, locale), locale)
    skeleton = "yMMMd" if form == "medium" else form
    try:
        return _digits(format_skeleton(skeleton, at, locale=locale), locale)
    except KeyError as error:
        raise NotWritable(f"no form of a date is called {form!r}") from error


def days(start: When, end: When, tag: str = DEFAULT, form: str = "yMMMd") -> str:
    """The days from a date to another, without saying twice what they share: `3.-9. Dez. 2026`.

    Args:
        start: the first day.
        end: the last day.
        tag: the locale.
        form: a skeleton of CLDR.

    Raises:
        NotWritable: one is no date, the last lies before the first, or the locale is unknown.
    """
    from babel.dates import format_interval

    first, last, locale = _date(start), _date(end), read_locale(tag)
    if last < first:
        raise NotWritable(f"{last.isoformat()} lies before {first.isoformat()}")
    if form == "MMMd" and first.year != last.year:
        form = "yMMMd"
    return _digits(format_interval(first, last, form, locale=locale), locale)


def upper(text: str, tag: str = DEFAULT) -> str:
    """In capitals, as the language writes them: a Turkish i keeps its dot, a Greek accent goes."""
    language = read_locale(tag).language
    if language in ("tr", "az"):
        return text.replace("i", "İ").upper()
    if language == "el":
        bare = unicodedata.normalize("NFD", text).replace("\u0301", "")
        return unicodedata.normalize("NFC", bare).upper()
    return text.upper()


def _decimal(value: Amount) -> Decimal:
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation as error:
        raise NotWritable(f"{str(value)[:40]!r} is no number") from error
    if not amount.is_finite() or abs(amount.adjusted()) > 18:
        raise NotWritable(f"{str(value)[:40]!r} is no number that can be written")
    return amount


def _date(value: When) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise NotWritable(f"{value[:40]!r} is no date: write it like 2026-12-31") from error


def _system(locale: "Locale") -> str:
    system = str(locale.default_numbering_system)
    return system if system in NOUGHTS else "latn"


def _digits(text: str, locale: "Locale") -> str:
    nought = NOUGHTS[_system(locale)]
    return text.translate({0x30 + digit: nought + digit for digit in range(10)})


def _tag(context: Context) -> str:
    return str(context.get("locale") or DEFAULT)


@pass_context
def _money(context: Context, value: Amount, currency: str, whole: bool = False) -> str:
    return money(value, currency, _tag(context), whole)


@pass_context
def _number(context: Context, value: Amount) -> str:
    return number(value, _tag(context))


@pass_context
def _percent(context: Context, value: Amount) -> str:
    return percent(value, _tag(context))


@pass_context
def _day(context: Context, value: When, form: str = "medium") -> str:
    return day(value, _tag(context), form)


@pass_context
def _days(context: Context, start: When, end: When, form: str = "yMMMd") -> str:
    return days(start, end, _tag(context), form)


@pass_context
def _upper(context: Context, text: str) -> str:
    return upper(text, _tag(context))


FILTERS: Mapping[str, Callable[..., str]] = {
    "money": _money,
    "number": _number,
    "percent": _percent,
    "day": _day,
    "days": _days,
    "upper": _upper,
}
