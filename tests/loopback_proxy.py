"""A proxy on loopback between a client and a PostgreSQL server, which loses what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Loss = Literal["reply", "request", "late"]
COMMIT = b"COMMIT\x00"


class Proxy:
    """Breaks the connection at every `every`th commit, in one of three ways in turn.

    `reply`: the server commits, but nobody hears of it. `request`: it never hears of the commit.
    `late`: it hears of it when the client has long given the connection up.
    """

    def __init__(self, port: int, every: int) -> None:
        self._target, self._every = port, every
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._commits = 0
        self._lock = threading.Lock()
        self.losses: list[Loss] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _loss(self, data: bytes) -> Loss | None:
        if not data.endswith(COMMIT):
            return None
        with self._lock:
            self._commits += 1
            if self._commits % self._every:
                return None
            kinds: tuple[Loss, ...] = ("reply", "request", "late")
            self.losses.append(kinds[len(self.losses) % 3])
            return self.losses[-1]

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(1 << 20):
                loss = self._loss(data)
                if loss is not None:
                    client.shutdown(socket.SHUT_RDWR)
                if loss == "late":
                    threading.Event().wait(0.3)
                if loss != "request":
                    server.sendall(data)
                if loss == "reply" or loss == "late":
                    threading.Event().wait(0.2)  # so that the server is done with it
                if loss is not None:
                    server.shutdown(socket.SHUT_RDWR)  # wakes who reads from it
                    return


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 20):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(port: int, every: int) -> Iterator[Proxy]:
    """A proxy before the server on `port`."""
    made = Proxy(port, every)
    try:
        yield made
    finally:
        made.close()
