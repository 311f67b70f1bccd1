"""What an evaluator's program said: its score and feedback, or why there is none, in words."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import Any

from ...schemas.errors import ProgramFailed
from ...schemas.graph import Value
from ...schemas.text import storable
from .process import Finished, OverLimit

MAX_FEEDBACK = 10_000
"""Characters of feedback that are kept."""
_TAIL = 1000  # characters of stderr that a failure shows
_PRINTED = 200  # characters of stdout that a failure shows
_ON_THIS = " failed on this: "
_MIB = 1 << 20


def value_of(name: str, finished: Finished, memory: int) -> Value:
    """The score with its feedback. Raises ProgramFailed; `memory` is the limit in bytes."""
    if finished.code:
        raise failure(name, _ended(finished, memory), finished.stderr)
    text = finished.stdout.decode("utf-8", "replace")
    answer = _answer(text)
    if answer is None:
        wanted = '{"score": 0..1, "feedback": "..."}, as all that it prints or as its last line'
        raise failure(name, f"it must print {wanted}, but printed {_end_of(text)}", finished.stderr)
    score = answer["score"]
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        shown = _end_of(json.dumps(score))
        raise failure(name, f"its score is {shown}, no number from 0 to 1", finished.stderr)
    return Value(text=_feedback(name, answer), score=float(score))


def failure(name: str, how: str, stderr: str) -> ProgramFailed:
    """The error that says how a program failed on what it was given."""
    tail = storable(stderr.strip())
    if len(tail) > _TAIL:
        tail = "…" + tail[-_TAIL:]
    said = f" Its stderr ends:\n{tail}\n" if tail else ""
    return ProgramFailed(
        f"The evaluator {name}{_ON_THIS}{how}.{said}",
        "It has scored nothing in this session yet, so the program itself may be broken. The "
        "operator can mend it or its settings; then call resume.",
    )


def is_failure(value: Value) -> bool:
    """Whether this is what a text gets that a program failed on."""
    return value.score == 0 and value.text.startswith("The evaluator ") and _ON_THIS in value.text


def stopped(over: OverLimit, memory: int, disk: int) -> str:
    """Why a program was stopped."""
    match over.what:
        case "memory":
            return f"it was stopped: out of memory (used {_of(over.used, memory)})"
        case "disk":
            return f"it was stopped: its files grew too large (used {_of(over.used, disk)})"
        case "output":
            return f"it printed more than {over.used:,} bytes and was stopped"
    return f"it was stopped: it ran {over.used:,} processes at once"


def _of(used: int, most: int) -> str:
    return f"{used / _MIB:,.0f} of {most / _MIB:,.0f} MiB"


def _ended(finished: Finished, memory: int) -> str:
    if finished.code > 0:
        return f"it exited with code {finished.code}"
    name = ""
    with suppress(ValueError):
        name = f" ({signal.Signals(-finished.code).name})"
    how = f"it was killed by signal {-finished.code}{name}"
    if -finished.code == signal.SIGKILL:  # the system does this when its own memory runs out
        how += f", not by this server; it had used {_of(finished.memory, memory)} of memory"
    return how


def _answer(text: str) -> dict[str, Any] | None:
    """The last JSON object with a score: all that was printed, or one line of it."""
    for part in (text, *reversed(text.split("\n"))):
        if part.lstrip().startswith("{"):
            with suppress(ValueError, RecursionError):
                found = json.loads(part)
                if "score" in found:
                    return dict(found)
    return None


def _feedback(name: str, answer: dict[str, Any]) -> str:
    given = answer.get("feedback")
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    if not given or not text.strip():
        return f"{name} gave the score {answer['score']:.2f}."
    kept = storable(text[:MAX_FEEDBACK])
    return kept if len(text) <= MAX_FEEDBACK else f"{kept}\n[cut here: {MAX_FEEDBACK:,} characters]"


def _end_of(text: str) -> str:
    text = storable(text.strip())
    return (text if len(text) <= _PRINTED else "…" + text[-_PRINTED:]) or "nothing"
