"""Writes data/tests.jsonl: `python -m examples.code.make_tests` makes the same file again.

For each task a few tests that the loop may see beside the examples of the description
(`shown`), and others for the report alone (`hidden`). Both have small random inputs and one large
input, which a slow algorithm does not finish in time. Answers are those of `solutions.py`.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from examples.code.evaluate import DATA, tasks
from examples.code.solutions import solution

SHOWN, HIDDEN = 3, 10
MOST = 20  # numbers of an answer that a test spells out
SEED = 20261126
Draw = random.Random
NUMBERS = "[pow(7, i + {start}, 1000003) % {most} + 1 for i in range({size})]"


def numbers(size: int, most: int, start: int) -> str:
    """Source of a long list of numbers from 1 to `most` that are as good as random."""
    return NUMBERS.format(size=size, most=most, start=start)


def some(draw: Draw, low: int, high: int, size: int) -> list[int]:
    """A list of random numbers."""
    return [draw.randint(low, high) for _ in range(size)]


def grid(draw: Draw, most: int) -> list[list[int]]:
    """A small grid of random numbers."""
    width = draw.randint(2, 4)
    return [some(draw, 1, most, width) for _ in range(draw.randint(2, 4))]


def tree(draw: Draw, size: int) -> list[list[int]]:
    """The edges of a random tree, in any direction."""
    edges = [[draw.randrange(node), node] for node in range(1, size)]
    return [draw.sample(edge, 2) for edge in edges]


def _fruits(draw: Draw) -> tuple[object, ...]:
    both = some(draw, 1, 6, 4) * 2
    draw.shuffle(both)
    return both[:4], both[4:]


def _tasks(draw: Draw) -> tuple[object, ...]:
    rows = []
    for _ in range(draw.randint(2, 6)):
        start = draw.randint(1, 9)
        end = start + draw.randint(0, 6)
        rows.append([start, end, draw.randint(1, end - start + 1)])
    return (rows,)


def _queries(draw: Draw) -> tuple[object, ...]:
    n = draw.randint(3, 12)
    return n, [draw.sample(range(1, 2**n), 2) for _ in range(4)]


def _marbles(draw: Draw) -> tuple[object, ...]:
    weights = some(draw, 1, 20, draw.randint(3, 8))
    return weights, draw.randint(1, len(weights))


def _roots(draw: Draw) -> tuple[object, ...]:
    edges = tree(draw, draw.randint(3, 7))
    both = [*edges, *([b, a] for a, b in edges)]
    guesses = draw.sample(both, draw.randint(2, len(both)))
    return edges, guesses, draw.randint(1, max(1, len(guesses) // 2))


def _timed(draw: Draw) -> tuple[object, ...]:
    rows = grid(draw, 9)
    rows[0][0], rows[0][1] = 0, draw.choice([1, 1, 5])
    return (rows,)


def _partitions(draw: Draw) -> tuple[object, ...]:
    parts = ["".join(draw.choices("2357", k=1) + draw.choices("1468", k=2)) for _ in range(5)]
    return "".join(parts), draw.randint(1, 4), draw.randint(1, 3)


def _bridge(draw: Draw) -> tuple[object, ...]:
    workers = draw.randint(1, 4)
    return draw.randint(1, 6), workers, [some(draw, 1, 9, 4) for _ in range(workers)]


def _power(draw: Draw) -> tuple[object, ...]:
    stations = some(draw, 0, 9, draw.randint(3, 7))
    return stations, draw.randint(0, 2), draw.randint(0, 9)


def _even(draw: Draw) -> tuple[object, ...]:
    n = draw.randint(4, 6)
    pairs = [[a, b] for a in range(1, n + 1) for b in range(a + 1, n + 1)]
    return n, draw.sample(pairs, draw.randint(3, len(pairs)))


def _robots(draw: Draw) -> tuple[object, ...]:
    robots = draw.sample(range(-20, 20), draw.randint(2, 5))
    places = draw.sample(range(-20, 20), 3)
    return robots, [[place, draw.randint(1, 3) + (i == 0) * 5] for i, place in enumerate(places)]


def _median(draw: Draw) -> tuple[object, ...]:
    size = draw.randint(3, 9)
    return draw.sample(range(1, size + 1), size), draw.randint(1, size)


def _words(draw: Draw) -> tuple[object, ...]:
    words = ["".join(draw.choices("abcd", k=draw.randint(2, 6))) for _ in range(3)]
    return (" ".join(words),)


def _reach(draw: Draw) -> tuple[object, ...]:
    factor = draw.choice([1, 2, 3, 4, 6])
    return factor * draw.randint(1, 10**6), factor * draw.randint(1, 10**6)


SMALL: dict[str, Callable[[Draw], tuple[object, ...]]] = {
    "rearranging-fruits": _fruits,
    "minimum-cost-to-make-array-equal": lambda d: (some(d, 1, 30, 5), some(d, 1, 9, 5)),
    "number-of-ways-to-earn-points": lambda d: (
        d.randint(5, 40),
        [some(d, 1, 6, 2) for _ in range(4)],
    ),
    "count-anagrams": _words,
    "check-if-point-is-reachable": _reach,
    "minimum-time-to-complete-all-tasks": _tasks,
    "maximum-number-of-non-overlapping-palindrome-substrings": lambda d: (
        "".join(d.choices("ab", k=12)),
        d.randint(2, 4),
    ),
    "cycle-length-queries-in-a-tree": _queries,
    "put-marbles-in-bags": _marbles,
    "count-number-of-possible-root-nodes": _roots,
    "paths-in-matrix-whose-sum-is-divisible-by-k": lambda d: (grid(d, 9), d.randint(1, 5)),
    "minimum-time-to-visit-a-cell-in-a-grid": _timed,
    "number-of-beautiful-partitions": _partitions,
    "time-to-cross-a-bridge": _bridge,
    "longest-increasing-subsequence-ii": lambda d: (some(d, 1, 12, 10), d.randint(1, 4)),
    "maximize-the-minimum-powered-city": _power,
    "add-edges-to-make-degrees-of-all-nodes-even": _even,
    "minimum-total-distance-traveled": _robots,
    "count-subarrays-with-median-k": _median,
    "maximum-number-of-points-from-grid-queries": lambda d: (grid(d, 9), some(d, 1, 11, 3)),
}
CHAIN = "[[i, i + 1] for i in range({size})]"
LARGE: dict[str, Callable[[int], str]] = {
    "rearranging-fruits": lambda s: (
        f"{numbers(40000, 999, s)} + {numbers(40000, 999, s + 9)}, "
        f"{numbers(40000, 999, s + 9)} + {numbers(40000, 999, s)}"
    ),
    "minimum-cost-to-make-array-equal": lambda s: (
        f"{numbers(50000, 10**6, s)}, {numbers(50000, 9, s + 5)}"
    ),
    "number-of-ways-to-earn-points": lambda s: f"1000, [[50, i + 1] for i in range({40 + s % 10})]",
    "count-anagrams": lambda s: f"'abcdefghij' * {5000 + s} + ' ' + 'xyz' * {10000 + s}",
    "check-if-point-is-reachable": lambda s: f"{3 * 10**8 + 3 * s}, {6 * 10**8 + 3}",
    "minimum-time-to-complete-all-tasks": lambda s: (
        f"[[i % 1900 + 1, i % 1900 + 90, i % 60 + 1] for i in range({1900 + s % 50})]"
    ),
    "maximum-number-of-non-overlapping-palindrome-substrings": lambda s: (
        f"'a' * {1900 + s % 50}, 700"
    ),
    "cycle-length-queries-in-a-tree": lambda s: (
        f"30, [[2**29 + i, 2**28 + {s} + i] for i in range(20000)]"
    ),
    "put-marbles-in-bags": lambda s: f"{numbers(50000, 10**9, s)}, 20000",
    "count-number-of-possible-root-nodes": lambda s: (
        f"{CHAIN.format(size=20000)}, [[i + 1, i] for i in range(0, 20000, 2)], {4000 + s}"
    ),
    "paths-in-matrix-whose-sum-is-divisible-by-k": lambda s: (
        f"[[(i * j + {s}) % 97 for i in range(100)] for j in range(100)], 30"
    ),
    "minimum-time-to-visit-a-cell-in-a-grid": lambda s: (
        f"[[(i + j) * (i * {s} + j) % 7 * (i + j > 2) for i in range(200)] for j in range(200)]"
    ),
    "number-of-beautiful-partitions": lambda s: f"'24' * {400 + s % 50}, 100, 4",
    "time-to-cross-a-bridge": lambda s: (
        f"5000, 1000, [[i % 9 + 1, i % 7 + 1, i % 5 + 1, {s} % 9 + 1] for i in range(1000)]"
    ),
    "longest-increasing-subsequence-ii": lambda s: f"{numbers(20000, 50000, s)}, 900",
    "maximize-the-minimum-powered-city": lambda s: f"{numbers(20000, 99, s)}, 500, 10**8",
    "add-edges-to-make-degrees-of-all-nodes-even": lambda s: (
        f"50000, [[i, i + 1] for i in range(1, {49000 + s})]"
    ),
    "minimum-total-distance-traveled": lambda s: (
        f"list(range(0, 100)), [[i * 3 + {s}, 40] for i in range(60)]"
    ),
    "count-subarrays-with-median-k": lambda s: (
        f"[(i * 7919 + {s}) % 50000 + 1 for i in range(50000)], 25000"
    ),
    "maximum-number-of-points-from-grid-queries": lambda s: (
        f"[[(i * {s} + j * 31) % 991 + 1 for i in range(100)] for j in range(100)], "
        "[i % 999 + 1 for i in range(2000)]"
    ),
}


def assertions(task_id: str, draw: Draw, count: int, start: int) -> Iterator[str]:
    """So many small tests, all different, then one large one."""
    name, solve, seen = tasks()[task_id]["entry_point"], solution(task_id), set[str]()
    while len(seen) < count:
        arguments = ", ".join(map(repr, SMALL[task_id](draw)))
        if arguments not in seen:
            seen.add(arguments)
            yield _assertion(name, arguments, solve)
    yield _assertion(name, LARGE[task_id](start), solve)


def _assertion(name: str, arguments: str, solve: Callable[..., object]) -> str:
    answer = eval(f"solve({arguments})", {"solve": solve, "math": math})
    if isinstance(answer, list) and len(answer) > MOST:
        return f"assert sum({name}({arguments})) == {sum(answer)}"
    return f"assert {name}({arguments}) == {answer!r}"


def write(path: Path = DATA / "tests.jsonl") -> None:
    """Write the tests of all tasks; the same file each time."""
    draw = random.Random(SEED)
    rows = []
    for task_id in tasks():
        shown = list(assertions(task_id, draw, SHOWN, 11))
        hidden = list(assertions(task_id, draw, HIDDEN, 23))
        rows.append(json.dumps({"task_id": task_id, "shown": shown, "hidden": hidden}))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
