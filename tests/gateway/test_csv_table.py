"""Tables as CSV: read back as they were, and nothing in them is a formula."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.csv_table import csv_response, write_csv

# A NUL is refused where it comes in; the reader of the standard library takes a lone CR for the line's end.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@given(rows=st.lists(st.lists(TEXTS, min_size=2, max_size=2)))
def test_what_is_written_is_read_back(rows) -> None:
    shown = [[f"'{cell}" if cell[:1] in tuple("=+-@\t\r\n") else cell for cell in row] for row in rows]
    assert read(write_csv(["a", "b"], rows)) == [["a", "b"], *shown]


@pytest.mark.parametrize("formula", ['=HYPERLINK("http://x")', "+1", "-1+2", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_a_text_is_no_formula(formula) -> None:
    assert read(write_csv(["a"], [[formula]]))[1] == [f"'{formula}"]


def test_numbers_stay_numbers() -> None:
    row = (-5, Decimal("-0.03"), Decimal("0.000001"), Decimal(0), None, "a-b")
    assert write_csv(list("abcdef"), [row]) == "a,b,c,d,e,f\r\n-5,-0.03,0.000001,0,,a-b\r\n"


def test_quotes_as_the_rfc_has_them() -> None:
    assert write_csv(["a", "b"], [['say "x"', "1,2"]]) == 'a,b\r\n"say ""x""","1,2"\r\n'


def test_it_is_saved_under_its_name() -> None:
    answer = csv_response("usage-all", "a\r\nü\r\n")
    assert answer.media_type == "text/csv; header=present"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage-all.csv"'
    assert answer.content == "a\r\nü\r\n".encode()
