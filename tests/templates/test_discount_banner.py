"""The discount banner: seventeen sizes, each laid out by itself, and one offer on all of them."""

import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from registry.errors import InvalidInputs
from templates.compose import Finished, Placed
from tests.support.presets import logo, made, of, opened, outside, planned, scene, well_read

NAME = "discount-banner"
SIZES = "300x250 336x280 728x90 970x90 970x250 300x600 160x600 120x600 320x50 320x100 300x50 468x60 234x60 250x250 200x200 180x150 300x1050"
TINY = ("320x50", "300x50", "234x60")
SAMPLE = of(NAME).row.sample
LONG: dict[str, Any] = {
    "headline": "Sommerschlussverkauf für die ganze Stadt",
    "percentage": 50,
    "price": "1299.95",
    "old_price": "2499.00",
    "lead_in": "Nur heute ab",
    "starts_on": "2026-12-28",
    "ends_on": "2027-01-09",
    "cta": "Jetzt entdecken",
    "terms": "Nur solange der Vorrat reicht, nicht mit anderen Aktionen kombinierbar",
    "locale": "de",
}
ARABIC: dict[str, Any] = {
    "headline": "تخفيضات الصيف",
    "percentage": 40,
    "price": "199",
    "old_price": "329",
    "currency": "SAR",
    "lead_in": "حتى",
    "cta": "تسوق الآن",
    "terms": "على موديلات مختارة حتى نفاد الكمية",
    "starts_on": "2026-09-07",
    "ends_on": "2026-09-13",
    "locale": "ar-EG",
}
CHINESE: dict[str, Any] = {
    "headline": "双十一狂欢节",
    "percentage": 25,
    "price": "268",
    "old_price": "399",
    "currency": "CNY",
    "lead_in": "低至",
    "cta": "立即抢购",
    "starts_on": "2026-11-01",
    "ends_on": "2026-11-11",
    "locale": "zh-Hans",
}


def said(one: Finished) -> dict[str, str]:
    """The words by variable, without marks of direction."""
    return {word.name: re.sub("[\u200e\u200f\u061c\u00a0\u202f]", "", word.text) for word in one.texts}


def cross(one: Placed, other: Placed) -> bool:
    return (
        one.x < other.x + other.width - 1
        and other.x < one.x + one.width - 1
        and one.y < other.y + other.height - 1
        and other.y < one.y + one.height - 1
    )


def fine(found: dict[str, Finished]) -> None:
    """Sizes are exact, words are read, in the safe area, and none lies on another."""
    rows = {output.name: output for output in of(NAME).row.outputs}
    assert set(found) == set(SIZES.split())
    for name, one in found.items():
        assert opened(one).size == tuple(int(edge) for edge in name.split("x"))
        assert outside(one, rows[name]) == []
        assert [(a.text, b.text, name) for a, b in combinations(one.texts, 2) if cross(a, b)] == []
        assert all(word.size >= 9 for word in one.texts)
    assert well_read(found)


def test_all_common_sizes_are_light_enough_for_ad_servers() -> None:
    found = made(NAME, SAMPLE)
    fine(found)
    assert all(len(one.data) < 150_000 for one in found.values())
    assert all(one.content_type == "image/jpeg" for one in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("variables", [LONG, ARABIC, CHINESE], ids=["long", "arabic", "chinese"])
def test_long_words_and_other_scripts(variables: dict[str, Any]) -> None:
    fine(made(NAME, variables, pictures={"logo_url": logo()}, ground=scene("noise")))


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"percentage": 7},
        {"percentage": 12.5, "cta": "Go"},
        {"price": "5"},
        {"price": "19.99", "old_price": "29.99", "currency": "USD", "cta": "Buy now"},
        {"percentage": 100, "ends_on": "2026-12-24"},
        {"percentage": 30, "price": "49", "starts_on": "2026-12-24"},
        {"percentage": 30, "brand_color": "#ffffff", "accent_color": "#fff2b3"},
        {"percentage": 30, "brand_color": "#777777", "accent_color": "#777777", "cta": "Go"},
        {"percentage": 30, "text": "model"},
    ],
)
def test_whatever_is_given(given: dict[str, Any]) -> None:
    fine(made(NAME, {"headline": "Golden Week", **given}))


def test_the_offer_and_its_lead_in_are_on_every_size() -> None:
    for name, one in made(NAME, SAMPLE, ["300x250", "728x90", "120x600", *TINY]).items():
        words = said(one)
        assert words["percentage"] == "-30%"
        assert words["lead_in"] == "Up to", name
        assert words["cta"] == "Shop now"
        assert (set(words) == {"percentage", "lead_in", "cta"}) is (name in TINY)
        biggest = max(one.texts, key=lambda word: word.size)
        assert biggest.name == "percentage"


def test_without_an_offer_the_headline_is_the_largest() -> None:
    for one in made(
        NAME, {"headline": "Golden Week", "cta": "See all"}, ["180x150", "468x60", "300x600"]
    ).values():
        assert max(one.texts, key=lambda word: word.size).name == "headline"


def test_amounts_and_days_are_as_the_language_writes_them() -> None:
    german = said(made(NAME, LONG, ["300x250"])["300x250"])
    assert german["percentage"] == "-50%"
    assert german["price"] == "1.299,95€"
    assert german["old_price"] == "2.499€"
    assert re.fullmatch(r"28\. Dez\. 2026\s\u2013\s9\. Jan\. 2027", german["ends_on"])
    arabic = said(made(NAME, ARABIC, ["300x250"])["300x250"])
    assert "٤٠٪" in arabic["percentage"]
    assert arabic["price"].startswith("١٩٩")
    chinese = said(made(NAME, CHINESE, ["300x250"])["300x250"])
    assert chinese["price"] == "¥268"
    assert chinese["ends_on"] == "11月1日至11日"


def test_a_price_alone_is_the_offer_and_the_old_one_is_struck() -> None:
    plain = {"headline": "Socks", "price": "19.99", "currency": "USD"}
    one = made(NAME, plain, ["300x250"])["300x250"]
    assert said(one)["price"] == "$19.99"
    assert "old_price" not in said(one)
    assert "old_price" not in said(
        made(NAME, {**plain, "price": None, "old_price": "9"}, ["300x250"])["300x250"]
    )
    struck = made(NAME, {**plain, "old_price": "29.99"}, ["300x250"])["300x250"]
    old = next(word for word in struck.texts if word.name == "old_price")
    row = np.asarray(opened(struck).convert("L")).astype(int)[round(old.y) : round(old.y + old.height)]
    row = row[:, round(old.x) : round(old.x + old.width)]
    assert (row > 150).all(axis=1).any()  # one row of pixels is the line, from end to end


@pytest.mark.parametrize("name", ["300x250", "970x250", "728x90", "320x100", "320x50"])
def test_what_is_read_from_the_right_is_mirrored(name: str) -> None:
    there = made(NAME, ARABIC, [name])[name]
    here = made(NAME, {**ARABIC, "locale": "en"}, [name])[name]
    offer = {
        one: next(w for w in found.texts if w.name == "percentage")
        for one, found in (("r", there), ("l", here))
    }
    assert offer["r"].x + offer["r"].width / 2 > there.width / 2
    assert offer["l"].x + offer["l"].width / 2 < there.width / 2
    brand = (0x43, 0x14, 0x5A)
    for found, at in ((there, there.width - 4), (here, 3)):
        pixel = np.asarray(opened(found))[4, at].astype(int)
        assert np.abs(pixel - brand).max() < 40  # the panel lies on the reading side


def test_the_button_lies_off_the_panel_where_it_stands_on_the_scene() -> None:
    for name, one in made(NAME, LONG, ["970x250", "970x90", "728x90", "468x60", "320x100"]).items():
        button = next(word for word in one.texts if word.name == "cta")
        others = max(word.x + word.width for word in one.texts if word.name != "cta")
        assert button.x > others + 8, name


def test_without_words_the_button_has_an_arrow() -> None:
    with_words = opened(made(NAME, {"headline": "Go", "percentage": 5}, ["320x50"])["320x50"])
    accent = (np.abs(np.asarray(with_words).astype(int) - (0xFF, 0xB6, 0x27)).max(axis=2) < 30)[:, 240:]
    assert accent.sum() > 200


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"headline": "Donaudampfschifffahrtsgesellschaftskapitän"[:40]}, "/variables/headline"),
        ({"cta": "WWWWWWWWWWWWWWWW"}, "/variables/cta"),
        ({"headline": "x" * 41}, "/variables/headline"),
        ({"headline": "\U000f0000"}, "/variables/headline"),
        ({"starts_on": "2026-12-09", "ends_on": "2026-12-03"}, "/variables"),
        ({"percentage": 0}, "/variables/percentage"),
        ({"currency": "XQQ"}, "/variables/currency"),
    ],
)
def test_what_is_refused(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInputs) as caught:
        planned(NAME, {**SAMPLE, **given})
    assert {fault.pointer for fault in caught.value.faults} == {pointer}
