"""Where the jobs of a container stand, told to whoever looks: a dictionary outside of it.

The engine's thread posts and never waits; a thread of its own writes, seldom. What cannot be
written is logged, and nothing else happens: progress is for people.
"""

import logging
import threading
from typing import Any, Protocol

import msgspec

from providers.diffusers_modal.wire import Running

__all__ = ["Board", "Store"]

_logger = logging.getLogger(__name__)


class Store(Protocol):
    """A dictionary shared with the gateway: a `modal.Dict`."""

    def put(self, key: str, value: bytes) -> Any:
        """Set an entry."""
        ...

    def pop(self, key: str, default: None) -> Any:
        """Take an entry away."""
        ...


class Board:
    """Writes the latest news of each job, by its id, as the msgpack of a `wire.Running`.

    Args:
        store: where to.
        every_s: seconds between two writes, at least.
    """

    def __init__(self, store: Store, *, every_s: float = 0.5) -> None:
        self._store = store
        self._every_s = every_s
        self._news: dict[str, Running | None] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="progress", daemon=True)
        self._thread.start()

    def post(self, id_: str, news: Running) -> None:
        """The job has come this far."""
        self._set(id_, news)

    def drop(self, id_: str) -> None:
        """The job has ended: its entry goes."""
        self._set(id_, None)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left, for `timeout_s` seconds at most, and end the thread."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(timeout_s)

    def _set(self, id_: str, news: Running | None) -> None:
        with self._changed:
            self._news[id_] = news
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news or self._closing.is_set())
                news, self._news = self._news, {}
            for id_, latest in news.items():
                self._write_one(id_, latest)
            if self._closing.is_set() and not self._news:
                return
            self._closing.wait(self._every_s)

    def _write_one(self, id_: str, news: Running | None) -> None:
        try:
            if news is None:
                self._store.pop(id_, None)
            else:
                self._store.put(id_, msgspec.msgpack.encode(news))
        except Exception:
            _logger.warning("the progress of %s was not written", id_, exc_info=True)
