"""What of a text is set: its blanks put in order, invisible characters out, clusters, places to break."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

__all__ = ["BLANKS", "IGNORABLE", "break_units", "clusters", "normal"]

BLANKS = " \u3000\u200b"
"""What is dropped where a line breaks."""

IGNORABLE = frozenset("\u200b\u200c\u200d\u200e\u200f\u061c\u2060") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
"""Draw nothing of their own, so a face need not have them."""

_SPACES = frozenset("\t\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u205f")
_NEWLINE = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphens, fillers
    "\u202a-\u202e\u2061-\u206f"  # bidi embeddings, overrides and isolates; invisible operators
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "]"
)
_FLAG = re.compile(
    "(\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]+\U000e007f)|[\U000e0000-\U000e00ff]"
)
_LOST = re.compile("(^|[\\s\u200b])[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]+", re.MULTILINE)
_BLANK_RUN = re.compile(f"[{BLANKS}]*(?:[ \u3000][{BLANKS}]+|[{BLANKS}]+[ \u3000])[{BLANKS}]*")
_SURE_BREAK = re.compile("(?<=[A-Za-z0-9] )(?=[A-Za-z0-9])")
_NON_ASCII = re.compile("([\x00-\x7f]?[^\x00-\x7f]+)")
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")


def normal(text: str) -> str:
    """The text as it is set.

    Composed (NFC); a run of blanks is one blank, and none is at a line's ends; every kind of line
    break is a newline, without empty lines. Controls and invisible formatting go, joiners and
    variation selectors stay where they have something to work on. Idempotent.
    """
    text = _NEWLINE.sub("\n", text)
    text = "".join(" " if c in _SPACES else c for c in text)
    text = _INVISIBLE.sub("", text)
    text = _FLAG.sub(lambda found: found[1] or "", text)
    text = _LOST.sub(r"\1", text)
    text = unicodedata.normalize("NFC", text)
    lines = (_BLANK_RUN.sub(" ", line).strip(f"{BLANKS}\xa0\u2007\u202f") for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def clusters(text: str) -> Iterator[str]:
    """What a reader takes for one character each (UAX 29)."""
    for i, piece in enumerate(_NON_ASCII.split(text)):
        yield from _clusters(piece) if i % 2 else piece


def break_units(text: str) -> list[str]:
    """The text cut at each place where a line may end (UAX 14), blanks with what is before them.

    Other than the standard has it, no line ends within a Korean word, nor between a number and
    its sign of currency or per cent.
    """
    units: list[str] = []
    for piece in _SURE_BREAK.split(text):
        for unit in _units(piece):
            if units and _belongs(units[-1], unit):
                units[-1] += unit
            else:
                units.append(unit)
    return units


@lru_cache(1024)
def _units(piece: str) -> tuple[str, ...]:
    return (piece,) if piece.isascii() and piece.rstrip().isalnum() else _uax14(piece)


def _belongs(before: str, after: str) -> bool:
    last, first = before[-1], after[0]
    if last == " ":
        return before[-2:-1].isdigit() and (first in "%‰" or unicodedata.category(first) == "Sc")
    if _HANGUL.match(last):
        return first.isalnum()
    return last.isalnum() and _HANGUL.match(first) is not None


# Its tables take 0.15 s to load, which no start needs that lays nothing out.
def _clusters(piece: str) -> Iterable[str]:
    from uniseg.graphemecluster import grapheme_clusters

    found: Iterable[str] = grapheme_clusters(piece)
    return found


def _uax14(piece: str) -> tuple[str, ...]:
    from uniseg.linebreak import line_break_units

    return tuple(line_break_units(piece))
