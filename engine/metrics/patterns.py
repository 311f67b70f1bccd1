"""Regular expressions on outputs, bounded in time.

Python's matcher backtracks, so a harmless-looking pattern can take years on one output, holds the
interpreter lock while it does, and cannot be interrupted. Refusing "nested quantifiers" misses
cases and hits good patterns, so every match runs in a child process that is killed when it takes
too long. That costs some 15 ms a match.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
import warnings

from ...schemas.errors import BadInput
from ...schemas.graph import Value
from .base import CORRECT, Metric, Options, plain, quoted, wrong

_BY_NUMBER = re.compile(r"\\[xuUNr]")  # such a pattern may mean characters that nobody sees
TIMEOUT = 5.0
"""Seconds that one match may take, start of the child included."""
_CHILD = """
import json, re, sys
job = json.load(sys.stdin)
pattern = re.compile(job["pattern"], job["flags"])
found = (pattern.fullmatch if job["whole"] else pattern.search)(job["text"])
print(int(found is not None))
"""


class Pattern(Options):
    """Options of `regex`. With `full_match` the whole output, stripped, must match."""

    pattern: str
    ignore_case: bool = False
    full_match: bool = False


def compiles(pattern: str) -> None:
    """Raises BadInput if `pattern` is no regular expression."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInput(
            f"The regular expression {quoted(pattern, 80)} does not compile: {error}.",
            "It must be in the syntax of Python's re module.",
        ) from error


def matches(pattern: str, text: str, *, ignore_case: bool = False, whole: bool = False) -> bool:
    """Whether `pattern` is found in `text` (or is all of it).

    Raises BadInput if it does not compile or takes longer than TIMEOUT.
    """
    compiles(pattern)
    flags = int(re.IGNORECASE) if ignore_case else 0
    job = json.dumps({"pattern": pattern, "flags": flags, "whole": whole, "text": text})
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter; the pattern comes by stdin
            [sys.executable, "-I", "-S", "-W", "ignore", "-c", _CHILD],
            input=job.encode(),
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise BadInput(
            f"The regular expression {quoted(pattern, 80)} took over {TIMEOUT:g} s on one text of "
            f"{len(text):,} characters.",
            "Avoid repetitions inside repetitions, such as (a+)+, or use another metric.",
        ) from error
    return child.stdout.strip() == b"1"


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


REGEX = Metric(
    "regex",
    "1 if the output matches a regular expression (option `pattern`)",
    Pattern,
    _regex,
    needs_answer=False,
    verbatim=True,
    check=lambda options: compiles(options.pattern),
)
