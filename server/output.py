"""What a command leaves behind: words for a person, or with --json one document for a program.

Results go to stdout, errors and progress to stderr. With --json an error is one JSON object, the
last line of stderr, with the same keys as a tool's: `status`, `error`, `next`.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..schemas.errors import TextGradError

EXIT_CODES = """\
exit codes: 0 done; 1 done, and the answer is bad news (database check); 2 an error that the message
explains; 130 interrupted; 141 nobody reads the output."""


def told(args: argparse.Namespace, facts: Any, words: str) -> None:
    """Print a result: `facts` as JSON where --json was given, else `words`.

    Where stdout cannot hold every character, JSON is escaped and words show question marks.
    """
    from .paint import escaped, styled

    encoding = sys.stdout.encoding or "utf-8"
    if args.json:
        import json

        narrow = encoding.lower().replace("-", "") != "utf8"
        print(escaped(json.dumps(facts, indent=2, ensure_ascii=narrow)))
    elif words:
        print(styled(words).encode(encoding, "replace").decode(encoding))


def remarked(args: argparse.Namespace, words: str) -> None:
    """Say something on stderr that is no part of the result; nothing with --json."""
    if not args.json:
        from .paint import clean

        print(clean(words), file=sys.stderr)


def failed(error: TextGradError, *, as_json: bool) -> None:
    """Say on stderr, on one line, what went wrong and what to do."""
    from .paint import Paint, clean, escaped

    if as_json:
        import json

        facts = {"status": "failed", "error": error.message, "next": error.next}
        print(escaped(json.dumps(facts, ensure_ascii=False)), file=sys.stderr)
        return
    name = Paint(sys.stderr)("textgrad-mcp:", "red", "bold")
    print(f"{name} {clean(' '.join(str(error).split()))}", file=sys.stderr)
