"""Regular expressions on outputs.

Python's matcher backtracks, so a harmless-looking pattern can take years on one output, holds the
interpreter lock while it does, and cannot be interrupted. Refusing "nested quantifiers" misses
cases and hits good patterns, so this metric always runs in a worker, which is ended when it takes
too long (`engine/workers.py`).
"""

from __future__ import annotations

import re
import unicodedata
import warnings

from ...schemas.errors import BadInput
from ...schemas.graph import Value
from .base import CORRECT, Metric, Options, plain, quoted, wrong

_BY_NUMBER = re.compile(r"\\[xuUNr]")  # such a pattern may mean characters that nobody sees


class Pattern(Options):
    """Options of `regex`. With `full_match` the whole output, stripped, must match."""

    pattern: str
    ignore_case: bool = False
    full_match: bool = False


def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """`pattern` as it is searched with. Raises BadInput if it is no regular expression."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInput(
            f"The regular expression {quoted(pattern, 80)} does not compile: {error}.",
            "It must be in the syntax of Python's re module.",
        ) from error


def matches(pattern: str, text: str, *, ignore_case: bool = False, whole: bool = False) -> bool:
    """Whether `pattern` is found in `text` (or is all of it). Raises BadInput."""
    found = compiled(pattern, int(re.IGNORECASE) if ignore_case else 0)
    return (found.fullmatch if whole else found.search)(text) is not None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _regex(output: str, answer: str, options: Pattern) -> Value:
    whole, case = options.full_match, options.ignore_case
    see = _composed if _BY_NUMBER.search(options.pattern) else plain
    pattern, text = see(options.pattern), see(output)
    if matches(pattern, text.strip() if whole else text, ignore_case=case, whole=whole):
        return CORRECT
    must = "match the regular expression as a whole" if whole else "match the regular expression"
    return wrong(f"The output must {must}: {options.pattern}\nIt was {quoted(output)}.")


def _compiles(options: Pattern) -> None:
    compiled(options.pattern)


REGEX = Metric(
    "regex",
    "1 if the output matches a regular expression (option `pattern`)",
    Pattern,
    _regex,
    needs_answer=False,
    verbatim=True,
    check=_compiles,
)
