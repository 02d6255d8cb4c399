"""A reader that knows nothing of the text reads what was drawn: Debian's tesseract, with its data of the Latin script (package tesseract-ocr-script-latn)."""

# ruff: noqa: RUF001 - these characters are the point

import os
import shutil
import subprocess
import unicodedata
from functools import cache

import pytest
from support.drawing import png
from support.headlines import HEADLINES

from templates.typeset import Block, fit, font_files, svg_text

pytestmark = pytest.mark.slow

WIDTH = 1000
SAME = str.maketrans("“”„‘’–—", '"""\'\'--')
"""Quotes and dashes that differ by pixels."""


@pytest.fixture(autouse=True)
def tesseract() -> None:
    if not knows_latin():
        why = "tesseract is not installed, or without its data of the Latin script"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@cache
def knows_latin() -> bool:
    if shutil.which("tesseract") is None:
        return False
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True)
    return "Latin" in listed.stdout.split()


def folded(text: str) -> str:
    """Without kinds of quotes and dashes; blanks are one. Accents count."""
    whole = unicodedata.normalize("NFC", text)
    return " ".join(whole.translate(SAME).replace('"', "'").replace("''", "'").split())


def distance(a: str, b: str) -> int:
    """Characters that are wrong (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, c in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, d in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (c != d))
    return row[-1]


def page(headlines: tuple[str, ...], family: str, fill: str, ground: str) -> tuple[bytes, list[Block]]:
    """The headlines under one another over a flat colour."""
    blocks, parts, y = [], [], 40.0
    for headline in headlines:
        block = fit(headline, width=WIDTH - 80, height=400, size=48, min_size=48, family=family)
        parts.append(svg_text(block, x=40, y=y, width=WIDTH - 80, fill=fill))
        blocks.append(block)
        y += block.height + 40
    flat = f'<rect width="100%" height="100%" fill="{ground}"/>'
    return png(flat + "".join(parts), WIDTH, int(y), font_files(blocks)), blocks


def read(picture: bytes) -> str:
    done = subprocess.run(
        ["tesseract", "-", "-", "--psm", "6", "-l", "Latin"],
        input=picture,
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        timeout=100,
    )
    return done.stdout.decode()


def wrong(headlines: tuple[str, ...], family: str, fill: str, ground: str) -> tuple[int, int]:
    """How many characters were read wrong, of how many."""
    picture, blocks = page(headlines, family, fill, ground)
    wanted = folded(" ".join(line.text for block in blocks for line in block.lines))
    assert wanted.replace(" ", "") == folded("".join(headlines)).replace(" ", "")
    return distance(wanted, folded(read(picture))), len(wanted)


def test_ten_headlines_are_read() -> None:
    errors, of = wrong(HEADLINES[::5], "inter", "#ffffff", "#0b5fff")
    assert of > 200
    assert errors <= 0.01 * of


@pytest.mark.parametrize(
    ("family", "fill", "ground"),
    [("inter", "#ffffff", "#0b5fff"), ("oswald", "#111111", "#ffd400"), ("serif", "#ffffff", "#7a1f3d")],
)
def test_fifty_headlines_are_read(family: str, fill: str, ground: str) -> None:
    counts = [wrong(HEADLINES[i : i + 10], family, fill, ground) for i in range(0, 50, 10)]
    errors, of = (sum(column) for column in zip(*counts, strict=True))
    assert of > 1200
    assert errors <= 0.01 * of, f"{errors} of {of}"


def test_the_count_would_show_a_misspelling() -> None:
    assert distance("Winter Sale", "Winter Sale") == 0
    assert distance("Winter Sale", "Wintre Sael!") == 4
    picture, _ = page(("Wimter Sole is now on, at half the price", "Fresh bread"), "inter", "#fff", "#0b5fff")
    assert distance("Winter Sale is now on, at half the price Fresh bread", folded(read(picture))) == 2
