"""Why a reply ended: every endpoint has words of its own for it."""

from __future__ import annotations

import re
from enum import Enum, auto


class Ending(Enum):
    """What a finish reason means for the text that came with it."""

    WHOLE = auto()
    CUT = auto()
    WITHHELD = auto()
    FAILED = auto()
    UNKNOWN = auto()


_KNOWN = {
    "": Ending.WHOLE,
    "stop": Ending.WHOLE,
    "eos_token": Ending.WHOLE,
    "stop_token": Ending.WHOLE,
    "tool_calls": Ending.WHOLE,
    "function_call": Ending.WHOLE,
    "length": Ending.CUT,
    "error_limit": Ending.CUT,
    "content_filter": Ending.WITHHELD,
    "error_toxic": Ending.WITHHELD,
    "load": Ending.FAILED,
    "unload": Ending.FAILED,
}
_WORDS = (
    (
        Ending.WITHHELD,
        "filter|safety|toxic|block|prohibit|sensitive|moderat|recitation|refus|guardrail|polic|spii",
    ),
    (Ending.CUT, "length|limit|max_|max[a-z]*tokens|truncat|context|incomplete|budget"),
    (
        Ending.FAILED,
        "error|fail|abort|cancel|interrupt|time_?d?_?out|overload|insufficient|resource|network"
        "|unavailable|kill|crash|exception|preempt|connect|evict|malformed",
    ),
    (Ending.WHOLE, r"stop|eos|(?:^|_)end|complete|done|finish|success"),
)


def ending(reason: str) -> Ending:
    """What a finish reason means: by the words that are known, else by what is in them."""
    said = reason.strip().lower()
    if said in _KNOWN:
        return _KNOWN[said]
    found = (meaning for meaning, words in _WORDS if re.search(words, said))
    return next(found, Ending.UNKNOWN)
