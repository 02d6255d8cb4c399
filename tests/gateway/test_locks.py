"""One gateway a data folder."""

import os
import subprocess
import sys

import pytest

from gateway.locks import NAME, FolderBusyError, hold_folder

HOLD = """
import sys, pathlib
from gateway.locks import hold_folder
with hold_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_folder_is_made_and_names_its_holder(tmp_path) -> None:
    with hold_folder(tmp_path / "new" / "data"):
        assert (tmp_path / "new" / "data" / NAME).read_text() == str(os.getpid())


def test_a_second_holder_is_told_the_first(tmp_path) -> None:
    with hold_folder(tmp_path), pytest.raises(FolderBusyError, match=str(os.getpid())), hold_folder(tmp_path):
        pass


def test_two_folders_are_two(tmp_path) -> None:
    with hold_folder(tmp_path / "a"), hold_folder(tmp_path / "b"):
        pass


def test_it_is_free_after_the_block(tmp_path) -> None:
    with pytest.raises(KeyError), hold_folder(tmp_path):
        raise KeyError
    with hold_folder(tmp_path):
        pass


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_it_is_free_when_its_process_is_gone(tmp_path, end) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FolderBusyError, match=str(other.pid)), hold_folder(tmp_path):
            pass
        getattr(other, end)()
        other.wait(10)
    with hold_folder(tmp_path):
        assert (tmp_path / NAME).read_text() == str(os.getpid())
