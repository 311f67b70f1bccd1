"""The loopback endpoint that both sides talk to: same latency, same scripted replies.

    python benchmarks/endpoint.py --latency 0.1            # prints its address
    python benchmarks/endpoint.py --latency 1 --sigma 0.8  # log-normal, median 1 s

Every reply of one kind has the same length, whoever asked, so that what differs between the two
sides is what they send, how often and when.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from standin import StandIn, log_normal, text_of

WORDS = "The reply names the right things but not in the form that was asked for, so say it plainly"
ANSWER_CHARS, CRITIQUE_CHARS, VALUE_CHARS = 120, 240, 320


def sentence(about: str, chars: int) -> str:
    """`chars` characters that differ with `about` and are the same every time."""
    digest = hashlib.sha256(about.encode()).hexdigest()[:12]
    return f"{digest}: " + (WORDS + ". " + WORDS * (chars // len(WORDS)))[: chars - 14]


def reply(body: dict[str, Any]) -> str:
    """What the model says, by what is asked for: a new text, a critique or an answer."""
    messages = body["messages"]
    asked = "\n".join(text_of(message) for message in messages)
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema:
        return json.dumps({k: _field(k, asked) for k in schema["properties"]})
    if "<IMPROVED_VARIABLE>" in text_of(messages[0]):
        return f"<IMPROVED_VARIABLE>{sentence(asked, VALUE_CHARS)}</IMPROVED_VARIABLE>"
    critical = ("gradient (feedback)", "You judge", "several pieces of feedback")
    chars = CRITIQUE_CHARS if any(c in text_of(messages[0]) for c in critical) else ANSWER_CHARS
    return sentence(asked, chars)


def _field(key: str, asked: str) -> object:
    if key == "score":
        return 0.5
    return sentence(asked + key, VALUE_CHARS if key == "value" else CRITIQUE_CHARS)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    latency = log_normal(args.latency, args.sigma, args.seed) if args.sigma else args.latency
    server = StandIn(reply=reply, latency=latency)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(started=lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
