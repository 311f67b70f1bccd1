"""The log: callers can neither flood it nor write into it."""

from __future__ import annotations

import logging

import pytest
from textgrad_mcp.server.logs import LINES, LONG, SECONDS, Plain, Throttle


class Kept(logging.Handler):
    """Keeps lines as they would be written."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self.addFilter(Throttle(lambda: clock[0]))
        self.setFormatter(Plain(None))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(self.format(record))


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def kept(clock: list[float]) -> Kept:
    return Kept(clock)


@pytest.fixture
def log(kept: Kept) -> logging.Logger:
    found = logging.Logger("test")
    found.addHandler(kept)
    return found


@pytest.mark.requirement("strangers")
def test_one_place_says_so_much_a_minute_and_then_how_much_it_left_out(
    log: logging.Logger, kept: Kept, clock: list[float]
) -> None:
    def knock(n: int) -> None:
        log.warning("%s knocked", n)

    for n in range(1000):
        knock(n)
    log.warning("another place")
    assert kept.lines == [*(f"{n} knocked" for n in range(LINES)), "another place"]
    clock[0] += SECONDS
    knock(1000)
    assert kept.lines[-1] == f"1000 knocked (and {1000 - LINES} more like it before)"
    clock[0] += SECONDS
    knock(1001)
    assert kept.lines[-1] == "1001 knocked"


@pytest.mark.requirement("strangers")
def test_what_a_line_quotes_is_no_line_of_its_own_and_drives_no_terminal(
    log: logging.Logger, kept: Kept
) -> None:
    log.error("%s", "x\nERROR: all is lost\x1b[2J\x9b31m\u202e" + "y" * 2 * LONG)
    try:
        raise ValueError("a\nWARNING: b")
    except ValueError:
        log.exception("it failed")
    said = "\n".join(kept.lines).split("\n")
    assert [line[:12] for line in said if not line.startswith(" ")] == ["x", "it failed"]
    assert not any(mark in "\n".join(said) for mark in "\x1b\x9b\u202e")
    assert all(len(line) < LONG + 100 for line in kept.lines)
