"""Writes the dates task: `python -m textgrad_mcp.server.demo.dates` makes the same files again.

Each item is a sentence that holds one date in one of eight styles; the answer is the date in a
house format that nothing in the sentence gives away.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

DATA = Path(__file__).parent / "data"
SIZES = {"train": 44, "validation": 32, "test": 48}
SEED = 20261122

SENTENCES = (
    "The lease was signed on {} in front of two witnesses.",
    "Our dentist can see you on {}, if that suits you.",
    "{} was the day the bridge was opened to traffic.",
    "Please return the book by {} at the latest.",
    "According to the log, the pump was last serviced on {}.",
    "They met on {} at a concert in Lyon.",
    "The warranty runs out on {}, so keep the receipt.",
    "Delivery has been moved to {} because of the strike.",
    "Her passport was issued on {} in Nairobi.",
    "The minutes of {} were approved without changes.",
    "Applications received after {} cannot be considered.",
    "We planted the walnut tree on {}.",
    "The museum has been closed since {}.",
    "His first goal for the club came on {} against the leaders.",
    "Invoice 77 is dated {} and is still open.",
    "On {} the river rose by three metres.",
)


def _ordinal(day: int) -> str:
    if day in (11, 12, 13):
        return f"{day}th"
    return f"{day}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th') }"


STYLES: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.day} {d:%B} {d.year}",
    lambda d: f"{d:%B} {d.day}, {d.year}",
    lambda d: f"the {_ordinal(d.day)} of {d:%B} {d.year}",
    lambda d: f"{d:%b} {d.day}, {d.year}",
    lambda d: f"{d.day:02}-{d:%b}-{d.year}",
    lambda d: f"{d:%A}, {d.day} {d:%B} {d.year}",
    lambda d: f"{d.day} {d:%b} {d.year}",
    lambda d: f"{d:%B} {_ordinal(d.day)}, {d.year}",
)


def house_format(day: date) -> str:
    """The format to be learnt: 2019-07-03 for 3 July 2019."""
    return day.isoformat()


def items(random_: random.Random) -> Iterator[dict[str, str]]:
    """Endlessly many items, the styles in turn, no date twice."""
    days = list(range(12_000))
    random_.shuffle(days)
    for number, offset in enumerate(days):
        day = date(1994, 1, 1) + timedelta(days=offset)
        shown = STYLES[number % len(STYLES)](day)
        sentence = random_.choice(SENTENCES).format(shown)
        yield {"input": sentence[0].upper() + sentence[1:], "answer": house_format(day)}


def write(folder: Path = DATA) -> None:
    """Write the three splits into `folder`; the same files each time."""
    supply = items(random.Random(SEED))  # noqa: S311 - reproducible, not secret
    for split, size in SIZES.items():
        rows = [json.dumps(next(supply), ensure_ascii=False) for _ in range(size)]
        (folder / f"dates.{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
