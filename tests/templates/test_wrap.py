"""Line breaking, against every way there is to break a few words."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from templates.wrap import Paragraph, Piece, balance, wrap

WIDTHS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=8)


def paragraph(widths: list[tuple[int, int]]) -> Paragraph:
    return Paragraph("", [], [Piece(i, i + 1, w, gap, 1, 0) for i, (w, gap) in enumerate(widths)])


def every_way(count: int, lines: int) -> list[list[tuple[int, int]]]:
    return [list(pairwise((0, *cuts, count))) for cuts in combinations(range(1, count), lines - 1)]


def fits(p: Paragraph, lines: list[tuple[int, int]], limit: float) -> bool:
    return all(p.width(*line) <= limit for line in lines)


def cost(p: Paragraph, lines: list[tuple[int, int]]) -> float:
    return sum(p.width(*line) ** 2 for line in lines)


@given(WIDTHS, st.integers(1, 30))
def test_the_fewest_lines_then_the_most_equal_ones(widths: list[tuple[int, int]], limit: int) -> None:
    p = paragraph(widths)
    found = wrap(p, limit)
    count = len(widths)
    possible = [w for n in range(1, count + 1) for w in every_way(count, n) if fits(p, w, limit)]
    if not possible:
        assert found is None
        return
    assert found is not None
    assert found in possible
    assert len(found) == len(possible[0])
    better = balance(p, found, limit)
    assert better in possible
    assert len(better) == len(found)
    assert cost(p, better) == min(cost(p, way) for way in possible if len(way) == len(found))


@given(WIDTHS, st.integers(1, 30), st.integers(1, 4))
def test_more_lines_than_may_be_is_no_layout(widths: list[tuple[int, int]], limit: int, most: int) -> None:
    free = wrap(paragraph(widths), limit)
    found = wrap(paragraph(widths), limit, most)
    assert found == (free if free is not None and len(free) <= most else None)


def test_a_long_text_stays_as_it_was_broken() -> None:
    p = paragraph([(1, 1)] * 2000)
    lines = wrap(p, 40.0)
    assert lines is not None
    assert balance(p, lines, 40.0) is lines
