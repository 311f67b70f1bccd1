"""Who answers: an endpoint, the small local model, an assistant through files, or a record."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.common.record import Record
from examples.common.tools import COMMAND, Facts, Failed

PREFIX = "TEXTGRAD_MCP_"
_ENDPOINT = ("BASE_URL", "MODEL")
_PAUSE = 0.5  # seconds between two looks into the mailbox


def endpoint_named(environ: Mapping[str, str]) -> str | None:
    """The model that the environment names, or None where it names no endpoint."""
    for role in ("BACKWARD_", "", "FORWARD_"):
        for what in reversed(_ENDPOINT):
            if environ.get(f"{PREFIX}{role}{what}"):
                return environ[f"{PREFIX}{role}{what}"]
    return environ.get("OPENAI_BASE_URL")


class Mailbox:
    """An assistant that answers through files in a folder.

    `ask-N.json` holds the prompts as the server gave them; whoever answers writes `reply-N.json`,
    an object from id to completion (to a new name, then renamed).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._count = len(list(folder.glob("ask-*.json")))

    async def __call__(self, pending: list[Facts]) -> dict[str, Any]:
        """Ask, and wait for the reply."""
        self._count += 1
        ask = self._folder / f"ask-{self._count}.json"
        reply = self._folder / f"reply-{self._count}.json"
        part = ask.with_suffix(".part")
        part.write_text(json.dumps(pending, ensure_ascii=False, indent=1), "utf-8")
        part.replace(ask)
        print(f"{len(pending)} prompts are in {ask}; waiting for {reply}", file=sys.stderr)
        while not reply.exists():
            await asyncio.sleep(_PAUSE)
        found = json.loads(reply.read_text("utf-8"))
        if not isinstance(found, dict):
            raise Failed(f"{reply} must be an object: id -> completion.")
        return found


class Recorded:
    """Answers every prompt as it was answered in a record; one that is not in it ends the run."""

    def __init__(self, record: Record) -> None:
        self._replies: dict[tuple[str, str], deque[str]] = defaultdict(deque)
        for name in record.sessions:
            for call in record.ledger(name).replies:
                self._replies[_asked(call["request"]["messages"])].append(call["text"])

    async def __call__(self, pending: list[Facts]) -> dict[str, Any]:
        """The recorded replies, in the order they came where a prompt was asked more than once."""
        return {one["id"]: self._reply(one) for one in pending}

    def _reply(self, one: Facts) -> str:
        found = self._replies.get((one.get("system") or "", one["prompt"]))
        if not found:
            raise Failed(
                f"The record has no reply to this prompt ({one['purpose']}), so it cannot be run "
                "again: it was made by another version of textgrad-mcp or of this example, or with "
                "other options. --replay shows its report all the same. The prompt begins: "
                f"{one['prompt'][:300]!r}"
            )
        return found.popleft()


def _asked(messages: list[Facts]) -> tuple[str, str]:
    by_role = {one["role"]: str(one["content"]) for one in messages}
    return by_role.get("system", ""), by_role["user"]


def assistant(roles: tuple[str, ...]) -> dict[str, str]:
    """Settings in which the caller answers these roles."""
    return {f"{PREFIX}{role.upper()}_ANSWERER": "assistant" for role in roles}


@contextmanager
def local_model(roles: tuple[str, ...], params: Mapping[str, Facts]) -> Iterator[dict[str, str]]:
    """Settings in which the small local model answers these roles, while the block runs.

    Raises Failed where it is not there.
    """
    _pull()
    with subprocess.Popen(
        [COMMAND, "model", "serve"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _settings(_address(process), roles, params)
        finally:
            process.terminate()


def _pull() -> None:
    done = subprocess.run([COMMAND, "model", "pull"], check=False, stdout=sys.stderr)
    if done.returncode:
        raise Failed("The small local model is not on this machine and could not be fetched.")


def _address(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    model, _, rest = line.partition(" answers at ")
    if not rest:
        raise Failed("The local model could not be started.")
    return rest.split()[0], model


def _settings(
    address: tuple[str, str], roles: tuple[str, ...], params: Mapping[str, Facts]
) -> dict[str, str]:
    url, model = address
    found: dict[str, str] = {}
    for role in roles:
        told = {
            "BASE_URL": url,
            "MODEL": model,
            "API_KEY": "none",
            "PARAMS": json.dumps(params[role]),
            "UPDATE_PARAMS": json.dumps({"temperature": 0.8}),
            "CONCURRENCY": str(os.cpu_count() or 1),
            "TIMEOUT": "900",
        }
        found |= {f"{PREFIX}{role.upper()}_{key}": value for key, value in told.items()}
    return found
