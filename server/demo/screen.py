"""What the demo shows while it works: one line that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

WIDTH = 24


class Screen:
    """Writes phases and progress to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._began = time.monotonic()
        self._phase = ""
        self._told = -1

    def say(self, line: str) -> None:
        """A line of its own."""
        self._clear()
        print(line, file=self._stream, flush=True)

    def phase(self, what: str) -> None:
        """Begin a phase."""
        self._phase, self._told = what, -1
        self.say(f"[{time.monotonic() - self._began:5.0f} s] {what}")

    def progress(self, done: int, total: int, message: str) -> None:
        """Show how many calls of a phase are answered, of those known so far."""
        if self._live:
            filled = WIDTH * done // total if total else 0
            bar = "#" * filled + "." * (WIDTH - filled)
            seconds = time.monotonic() - self._began
            self._clear()
            print(
                f"[{seconds:5.0f} s] [{bar}] {message}"[:110], end="", file=self._stream, flush=True
            )
        elif done // 20 > self._told:
            self._told = done // 20
            self.say(f"          {message}")

    def done(self) -> None:
        """Leave a clean line."""
        self._clear()

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[2K", end="", file=self._stream)
