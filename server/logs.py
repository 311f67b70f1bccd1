"""The server's log, which callers can neither flood nor write into.

One place in the code says at most so many lines a minute; how many more there were is said with
its next line. What a line quotes cannot drive a terminal or pose as another line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from .paint import clean

SECONDS, LINES = 60.0, 10
LONG = 20_000
"""Characters of one line, its traceback included."""


@dataclass
class _Said:
    """What one place in the code has said since a minute began."""

    since: float
    lines: int = 0
    left_out: int = 0


class Throttle(logging.Filter):
    """Lets through the first lines a minute of each place in the code."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, int], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said. The first of a new minute tells how many the last one left out."""
        now = self._clock()
        place = record.pathname, record.lineno
        said = self._said.get(place)
        if said is None or now - said.since >= SECONDS:
            if said is not None and said.left_out:
                record.msg = f"{record.getMessage()} (and {said.left_out} more like it before)"
                record.args = ()
            said = self._said[place] = _Said(now)
        said.lines += 1
        if said.lines > LINES:
            said.left_out += 1
            return False
        return True


class Plain(logging.Formatter):
    """What `inner` makes of a record, without what could drive a terminal, and not endless."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """The line as it is written."""
        line = clean(self._inner.format(record)).replace("\n", "\n    ")
        return line if len(line) <= LONG else f"{line[:LONG]}… ({len(line):,} characters)"


def guard_log() -> None:
    """Guard whatever this process writes its log to."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, Plain):
            handler.addFilter(Throttle())
            handler.setFormatter(Plain(handler.formatter))
