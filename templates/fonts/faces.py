"""The faces, what each of them can draw, and the order in which they are asked."""

from functools import cache
from pathlib import Path

import uharfbuzz as hb  # type: ignore[import-untyped]
from msgspec import Struct

__all__ = ["FAMILIES", "Face", "Metrics", "faces_for", "is_rtl_language"]

FILES = Path(__file__).parent / "files"


class Metrics(Struct, frozen=True):
    """Of a face, in ems: how high its capitals stand, and how far below the baseline it reaches."""

    cap_height: float
    descent: float


class Face(Struct, frozen=True, kw_only=True):
    """One font file."""

    stem: str
    family: str
    """What a renderer that was given the file calls it; no two files share a family."""
    weight: int
    script: bool = False
    """Serves the languages of a script: the punctuation among their letters is better taken from it."""
    east_asian: bool = False
    picture: bool = False
    """Emoji and symbols: asked last, for it has letters and digits too."""

    @property
    def path(self) -> Path:
        """The file."""
        return FILES / f"{self.stem}.ttf"

    def covers(self, text: str) -> bool:
        """Whether it has a glyph for each of these characters."""
        return _coverage(self.stem).issuperset(map(ord, text))

    def lacks(self, text: str) -> str:
        """The characters that it has no glyph for."""
        coverage = _coverage(self.stem)
        return "".join(c for c in text if ord(c) not in coverage)

    @property
    def font(self) -> hb.Font:
        """Its font, for shaping at one unit per font unit."""
        return _font(self.stem)

    @property
    def upem(self) -> int:
        """Font units of an em."""
        return int(_font(self.stem).face.upem)

    @property
    def metrics(self) -> Metrics:
        """Its heights."""
        return _metrics(self.stem)


@cache
def _font(stem: str) -> hb.Font:
    return hb.Font(hb.Face(hb.Blob.from_file_path(str(FILES / f"{stem}.ttf"))))


@cache
def _coverage(stem: str) -> frozenset[int]:
    return frozenset(_font(stem).face.unicodes)


@cache
def _metrics(stem: str) -> Metrics:
    font = _font(stem)
    cap = font.get_metric_position_with_fallback(hb.OTMetricsTag.CAP_HEIGHT)
    descent = -font.get_font_extents("ltr").descender
    return Metrics(cap / font.face.upem, descent / font.face.upem)


INTER_500 = Face(stem="inter-500", family="Gateway Inter Medium", weight=500)
INTER_800 = Face(stem="inter-800", family="Gateway Inter ExtraBold", weight=800)
OSWALD = Face(stem="oswald-700", family="Gateway Oswald", weight=700)
SERIF = Face(stem="serif-700", family="Gateway Serif", weight=700)
NOTO = Face(stem="noto-700", family="Gateway Noto", weight=700)
ARABIC = Face(stem="arabic-700", family="Gateway Arabic", weight=700, script=True)
HEBREW = Face(stem="hebrew-700", family="Gateway Hebrew", weight=700, script=True)
DEVANAGARI = Face(stem="devanagari-700", family="Gateway Devanagari", weight=700, script=True)
THAI = Face(stem="thai-700", family="Gateway Thai", weight=700, script=True)
SC = Face(stem="sc-700", family="Gateway SC", weight=700, script=True, east_asian=True)
JP = Face(stem="jp-700", family="Gateway JP", weight=700, script=True, east_asian=True)
KR = Face(stem="kr-700", family="Gateway KR", weight=700, script=True, east_asian=True)
EMOJI = Face(stem="emoji-700", family="Gateway Emoji", weight=700, picture=True)
SYMBOLS = Face(stem="symbols-400", family="Gateway Symbols", weight=400, picture=True)

FAMILIES: dict[str, tuple[Face, ...]] = {
    "inter": (INTER_500, INTER_800),
    "oswald": (OSWALD,),
    "serif": (SERIF,),
}
"""What a text may be set in; characters that a family lacks come from the faces after it."""

_RTL = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "iw", "ks", "ku-arab", "ps", "sd", "ug", "ur", "yi"})


def is_rtl_language(language: str | None) -> bool:
    """Whether a language (`ar`, `he-IL`) is written from right to left."""
    words = (language or "").lower().replace("_", "-").split("-")
    return words[0] in _RTL or "arab" in words[1:] or "hebr" in words[1:]


@cache
def faces_for(family: str, weight: int, language: str | None) -> tuple[Face, ...]:
    """The faces in the order in which they are asked for a character.

    Args:
        family: a name of `FAMILIES`.
        weight: 100 to 900; the face nearest to it is taken.
        language: decides whose forms Han characters have: `ja`, `ko`, or else Chinese ones.

    Raises:
        ValueError: there is no such family.
    """
    if family not in FAMILIES:
        raise ValueError(f"there is no font family {family!r}: there are {', '.join(FAMILIES)}")
    first = min(FAMILIES[family], key=lambda face: abs(face.weight - weight))
    inter = min(FAMILIES["inter"], key=lambda face: abs(face.weight - first.weight))
    spoken = (language or "").lower().replace("_", "-").split("-")[0]
    han = {"ja": (JP, SC, KR), "ko": (KR, SC, JP)}.get(spoken, (SC, JP, KR))
    order = (first, inter, NOTO, ARABIC, HEBREW, DEVANAGARI, THAI, *han, EMOJI, SYMBOLS)
    return tuple(dict.fromkeys(order))
