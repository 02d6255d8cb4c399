"""Progress is written now and then, never in the job's way, and its failure stays a line in the log."""

import threading

import msgspec
from support.engines import wait

from providers.diffusers_modal.board import Board
from providers.diffusers_modal.wire import Running


class Shelf:
    """A dictionary that remembers every write, and may be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.entries: dict[str, bytes] = {}
        self.writes: list[tuple[str, int]] = []
        self.tries = 0
        self.open = threading.Event()
        self.open.set()
        self.away = away

    def put(self, key: str, value: bytes) -> None:
        self.open.wait(30)
        self.tries += 1
        if self.away:
            raise ConnectionError("no dictionary there")
        self.writes.append((key, msgspec.msgpack.decode(value, type=Running).step))
        self.entries[key] = value

    def pop(self, key: str, default: None) -> None:
        self.tries += 1
        if self.away:
            raise ConnectionError("no dictionary there")
        self.entries.pop(key, None)


def step(number: int) -> Running:
    return Running(phase="denoise", step=number, steps=1000)


def test_only_the_latest_news_of_a_busy_time_is_written():
    shelf = Shelf()
    shelf.open.clear()
    board = Board(shelf, every_s=0.01)
    for number in range(1000):
        board.post("a", step(number))
    board.post("b", step(7))
    shelf.open.set()
    wait(lambda: shelf.entries.keys() >= {"a", "b"} and shelf.writes[-1][1] in (7, 999))
    board.close()
    # The write under way when the rest came, and one for the rest.
    assert len(shelf.writes) <= 4
    assert ("a", 999) in shelf.writes


def test_an_ended_job_has_no_entry():
    shelf = Shelf()
    board = Board(shelf, every_s=0.01)
    board.post("a", step(1))
    wait(lambda: "a" in shelf.entries)
    board.drop("a")
    wait(lambda: not shelf.entries)
    board.close()


def test_what_is_left_is_written_at_the_end_without_waiting_for_its_turn():
    shelf = Shelf()
    board = Board(shelf, every_s=3600)
    board.post("a", step(1))
    wait(lambda: "a" in shelf.entries)
    board.drop("a")
    board.close()
    assert shelf.entries == {}


def test_a_dictionary_that_is_away_is_a_line_in_the_log(caplog):
    shelf = Shelf(away=True)
    board = Board(shelf, every_s=0.01)
    board.post("a", step(1))
    wait(lambda: shelf.tries == 1)
    board.drop("a")
    wait(lambda: shelf.tries == 2)
    board.close()
    assert [record.getMessage() for record in caplog.records] == ["the progress of a was not written"] * 2
