"""Files of exports: JSON in every arrangement, JSON lines and CSV, exactly as they are; and what is none."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from providers.exports import ExportError, Record, milliseconds, number, read_records, text_of

ROWS = [{"a": "x", "b": Decimal("0.1")}, {"a": "y", "b": Decimal("123456789.123456789012345")}]
ONE, TWO = ('{"a": "x", "b": 0.1}', '{"a": "y", "b": 123456789.123456789012345}')
PRETTY = json.dumps({"a": "x", "b": 0.1}, indent=2)


def read(folder: Path, content: str | bytes, name: str = "e") -> list[dict[str, object]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [dict(record.fields) for record in read_records(path)]


@pytest.mark.parametrize(
    "content",
    [
        f"[{ONE}, {TWO}]",
        f"[\n  {ONE},\n  {TWO}\n]\n",
        f"{ONE}\n{TWO}\n",
        f"\n{ONE}\r\n\r\n{TWO}",
        f"{PRETTY}\n{TWO}",
        f"{PRETTY}{TWO}",
        f"[{ONE}]\n[{TWO}]",
        "\ufeff" + f"[{ONE}, {TWO}]",
    ],
    ids=[
        "list",
        "pretty list",
        "lines",
        "lines with gaps",
        "documents",
        "documents in a row",
        "lists",
        "mark",
    ],
)
def test_json_in_every_arrangement(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == ROWS


def test_csv_by_its_header(tmp_path: Path) -> None:
    content = (
        'Object ID,"Interval Start",Cost ($)\r\nap-1,"2026-11-20",1.5\r\n\r\n"a ""b"", c",,\r\nshort\r\n'
    )
    assert read(tmp_path, content) == [
        {"object_id": "ap-1", "interval_start": "2026-11-20", "cost": "1.5"},
        {"object_id": 'a "b", c', "interval_start": "", "cost": ""},
        {"object_id": "short"},
    ]


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_nothing_is_no_record(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1', "usage.json is no JSON"),
        ('{"a": 1}\n{"a": \n', "usage.json is no JSON"),
        ("[1]", "usage.json, record 1: 1 is no object"),
        ('{"a": 1}\n"x"\n', "usage.json, record 2: 'x' is no object"),
        ('[{"a": NaN}]', "NaN is no number"),
        (b"\xff\xfe\x00", "usage.json is no text in UTF-8"),
        ('a,b\n"x', "usage.json is no CSV"),
        ("[" * 100_000, "usage.json is no JSON"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        read(tmp_path, content, "usage.json")


def test_numbers_are_exact() -> None:
    for value, found in [("0.1", "0.1"), (Decimal("1e-9"), "1e-9"), (7, "7"), (" 2 ", "2"), (0.025, "0.025")]:
        assert number(Record("r", {"n": value}), "n") == Decimal(found)
    assert number(Record("r", {"n": None, "m": "", "o": 3}), "n", "m", "o") == 3
    assert number(Record("r", {}), "n") is None


@pytest.mark.parametrize("value", ["abc", "NaN", "Infinity", "1e30", True, [], {}])
def test_what_is_no_number_says_so(value: object) -> None:
    with pytest.raises(ExportError, match=r"file, record 3: n is no number"):
        number(Record("file, record 3", {"n": value}), "n")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-20", 1_795_132_800_000),
        ("2026-11-20T00:00:00", 1_795_132_800_000),
        ("2026-11-20T00:00:00Z", 1_795_132_800_000),
        ("2026-11-19T19:00:00-05:00", 1_795_132_800_000),
        ("2026-11-20T00:00:00.123456+00:00", 1_795_132_800_123),
    ],
)
def test_times_are_of_their_zone_or_of_utc(text: str, at: int) -> None:
    assert milliseconds(Record("r", {"t": text}), "s", "t") == at


def test_what_is_no_time_says_so() -> None:
    with pytest.raises(ExportError, match=r"r: '20 Nov' is no time in ISO 8601"):
        milliseconds(Record("r", {"t": "20 Nov"}), "t")
    assert milliseconds(Record("r", {"t": ""}), "t") is None


def test_texts() -> None:
    record = Record("r", {"a": 1, "b": " ", "c": " x "})
    assert text_of(record, "a", "b", "c") == "x"
    assert text_of(record, "a") is None
