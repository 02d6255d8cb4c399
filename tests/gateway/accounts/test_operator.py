"""The operator's key: in a file of its own, for as long as its gateway runs."""

import stat
from pathlib import Path

import pytest

from gateway.accounts.operator import operator_key, read_operator_key
from gateway.ambient import Ambient

URL = "http://127.0.0.1:8000"


def test_it_is_there_while_the_gateway_runs(tmp_path: Path) -> None:
    assert read_operator_key(tmp_path) is None
    with operator_key(tmp_path, URL, Ambient()) as key:
        assert read_operator_key(tmp_path) == key
        assert (key.url, key.key[:13]) == (URL, "igw_operator_")
        (file,) = tmp_path.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert key.key not in repr(key)
    assert list(tmp_path.iterdir()) == []


def test_each_start_makes_another_and_a_left_one_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "operator.json").write_text("left by a killed gateway, readable by all")
    with operator_key(tmp_path, URL, Ambient()) as first:
        assert read_operator_key(tmp_path) == first
        assert stat.S_IMODE((tmp_path / "operator.json").stat().st_mode) == 0o600
    with operator_key(tmp_path, URL, Ambient()) as second:
        assert second.key != first.key


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "operator.json").symlink_to(tmp_path / "elsewhere")
    with operator_key(tmp_path, URL, Ambient()):
        assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1, "url": "x"}'])
def test_a_file_that_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "operator.json").write_text(text)
    assert read_operator_key(tmp_path) is None


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert read_operator_key(tmp_path / "file") is None
    assert read_operator_key(tmp_path / "none") is None
