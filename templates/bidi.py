"""The order in which a line's characters stand: the Unicode Bidirectional Algorithm (UAX 9).

Explicit embeddings, overrides and isolates are not read: a text has none left when it gets here.
Left are the rules for weak characters (W), brackets (N0), neutrals (N1, N2), levels (I) and the
order of a line (L1, L2). Names in brackets are the standard's.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

__all__ = ["levels", "strong_direction", "visual_order"]

_BRACKETS = (
    "()[]{}\u2045\u2046\u207d\u207e\u208d\u208e\uff08\uff09\uff3b\uff3d\uff5b\uff5d\uff5f\uff60\uff62\uff63"
    + "".join(
        chr(code)
        for first, last in ((0x2768, 0x2775), (0x27E6, 0x27EF), (0x3008, 0x3011), (0x3014, 0x301B))
        for code in range(first, last + 1)
    )
)
_CLOSES = dict(zip(_BRACKETS[::2], _BRACKETS[1::2], strict=True))
_NEUTRAL = frozenset({"B", "S", "WS", "ON"})
_AS_R = {"R": "R", "EN": "R", "AN": "R", "L": "L"}


@lru_cache(4096)
def _kind(character: str) -> str:
    return unicodedata.bidirectional(character) or "L"


def strong_direction(text: str) -> bool | None:
    """Whether the first character that has a direction goes from right to left; None where none has."""
    kinds = (_kind(c) for c in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), None)


def levels(text: str, rtl: bool) -> list[int]:
    """The embedding level of each character of a paragraph: odd ones go from right to left.

    Args:
        text: one paragraph.
        rtl: the paragraph's own direction.
    """
    base = int(rtl)
    if text.isascii() and not rtl:
        return [0] * len(text)
    places = [i for i, c in enumerate(text) if _kind(c) != "BN"]
    kinds = [_kind(text[i]) for i in places]
    side = "R" if rtl else "L"
    was_mark = [kind == "NSM" for kind in kinds]
    _weak(kinds, side)
    _brackets(kinds, [text[i] for i in places], was_mark, side)
    _neutral(kinds, side)
    found = [base] * len(text)
    for place, kind in zip(places, kinds, strict=True):
        if base == 0:
            found[place] = {"L": 0, "R": 1}.get(kind, 2)
        else:
            found[place] = 1 if kind == "R" else 2
    for i, c in enumerate(text):
        if i and _kind(c) == "BN":
            found[i] = found[i - 1]
    return found


def visual_order(found: Sequence[int]) -> list[int]:
    """The places of runs (or characters) from left to right, given their levels [L2]."""
    order = list(range(len(found)))
    for level in range(max(found, default=0), 0, -1):
        start = None
        for i in range(len(order) + 1):
            inside = i < len(order) and found[order[i]] >= level
            if inside and start is None:
                start = i
            elif not inside and start is not None:
                order[start:i] = order[start:i][::-1]
                start = None
    return order


def _weak(kinds: list[str], side: str) -> None:
    """Numbers and what stands with them [W1 to W7]."""
    _marks_and_numbers(kinds, side)
    _separators(kinds)
    for start, end in _stretches(kinds, frozenset({"ET"})):
        near = kinds[start - 1 : start] + kinds[end : end + 1]
        kinds[start:end] = ["EN" if "EN" in near else "ON"] * (end - start)
    strong = side
    for i, kind in enumerate(kinds):
        if kind in ("ES", "CS"):
            kinds[i] = "ON"
        elif kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[i] = "L"


def _marks_and_numbers(kinds: list[str], side: str) -> None:
    """Marks go with what they are on, numbers after Arabic letters are Arabic ones [W1 to W3]."""
    before = strong = side
    for i, kind in enumerate(kinds):
        if kind == "NSM":
            kinds[i] = kind = before
        if kind in ("L", "R", "AL"):
            strong = kind
        elif kind == "EN" and strong == "AL":
            kinds[i] = "AN"
        before = kind
    kinds[:] = ["R" if kind == "AL" else kind for kind in kinds]


def _separators(kinds: list[str]) -> None:
    """A separator between two numbers of one kind is a part of them [W4]."""
    for i in range(1, len(kinds) - 1):
        before, kind, after = kinds[i - 1 : i + 2]
        if before == after and (
            (before == "EN" and kind in ("ES", "CS")) or (before == "AN" and kind == "CS")
        ):
            kinds[i] = before


def _brackets(kinds: list[str], characters: list[str], was_mark: list[bool], side: str) -> None:
    """A pair of brackets goes with what it holds [N0]."""
    for start, end in _bracket_pairs(kinds, characters):
        inside = {_AS_R[kind] for kind in kinds[start + 1 : end] if kind in _AS_R}
        if side in inside:
            chosen = side
        elif inside:
            before = next((_AS_R[kind] for kind in reversed(kinds[:start]) if kind in _AS_R), side)
            chosen = before if before in inside else side
        else:
            continue
        for place in (start, end):
            kinds[place] = chosen
            after = place + 1
            while after < len(kinds) and was_mark[after]:
                kinds[after] = chosen
                after += 1


def _bracket_pairs(kinds: list[str], characters: list[str]) -> list[tuple[int, int]]:
    """Which brackets belong together, by where they open [BD16]."""
    opened: list[tuple[str, int]] = []
    pairs = []
    for i, (kind, character) in enumerate(zip(kinds, characters, strict=True)):
        if kind != "ON":
            continue
        if character in _CLOSES:
            if len(opened) == 63:
                break
            opened.append((_CLOSES[character], i))
            continue
        found = next((n for n in range(len(opened) - 1, -1, -1) if opened[n][0] == character), None)
        if found is not None:
            pairs.append((opened[found][1], i))
            del opened[found:]
    return sorted(pairs)


def _neutral(kinds: list[str], side: str) -> None:
    """Neutrals go with what is on both sides of them, or with the paragraph [N1, N2]."""
    for start, end in _stretches(kinds, _NEUTRAL):
        before = _AS_R[kinds[start - 1]] if start else side
        after = _AS_R[kinds[end]] if end < len(kinds) else side
        kinds[start:end] = [before if before == after else side] * (end - start)


def _stretches(kinds: list[str], of: frozenset[str]) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(kinds):
        if kinds[start] not in of:
            start += 1
            continue
        end = start
        while end < len(kinds) and kinds[end] in of:
            end += 1
        yield start, end
        start = end
