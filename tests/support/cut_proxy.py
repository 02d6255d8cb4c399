"""A TCP proxy in front of a server's socket that cuts a connection at the COMMIT of a write."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Literal

__all__ = ["CutProxy"]

COMMIT = b"COMMIT\0"
WRITES = b"pg_current_xact_id()"
Cut = Literal["before", "after"]


class CutProxy:
    """Passes bytes on, until a commit comes that is to be cut.

    Args:
        target: the server's Unix socket.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts: list[Cut] = []
        """What becomes of the next commits: cut `before` the server has it, or `after` it has done it."""
        self.refuses = False
        """New connections end at once."""
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> "CutProxy":
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept or recv sleeps on when its socket is closed alone.
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)

    def hang_up(self) -> None:
        """End every connection that there is."""
        self._hang_up(*self._open)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._target))
                self._open += [client, server]
                cut = threading.Event()
                for target in (self._forth, self._back):
                    thread = threading.Thread(target=target, args=(client, server, cut), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _forth(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        writes = False
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                writes = writes or WRITES in data
                if COMMIT in data and writes:
                    writes = False
                    how = self.cuts.pop(0) if self.cuts else None
                    if how == "before":
                        break
                    if how == "after":
                        cut.set()
                server.sendall(data)
        if not cut.is_set():
            self._hang_up(client, server)

    def _back(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    break
                client.sendall(data)
        self._hang_up(client, server)

    def _hang_up(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
