"""One client of the load, and the tally that all of them keep."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client

from .helpers import Facts

HANGS_UP = 0.05
"""The share of repeatable calls that a client hangs up on."""
REPEATABLE = ("backward", "evaluate")
ROUNDS = 2
QUESTIONS = 4
SETTLES = 400
"""Calls after which something is taken to be stuck."""


@dataclass
class Tally:
    """What the clients did, until when (on the monotonic clock), and what the servers weighed."""

    until: float
    done: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[int]] = field(default_factory=dict)
    _watched: dict[str, int] = field(default_factory=dict)

    def watch(self, name: str, pid: int) -> None:
        """Sample this process from now on."""
        self._watched[name] = pid

    def unwatch(self, name: str) -> None:
        """It is about to end."""
        self._watched.pop(name)

    async def sample(self, every: float) -> None:
        """Note the resident memory of the watched processes, in KiB, every so many seconds."""
        while True:
            for name, pid in self._watched.items():
                size = resident(pid)
                if size is not None:
                    self.memory.setdefault(name, []).append(size)
            await asyncio.sleep(every)


def resident(pid: int) -> int | None:
    """A process's resident memory in KiB; None where it cannot be known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)


class Hand:
    """Works on one session after the other. Every text is its session's alone, so that no two
    sessions ever ask the same."""

    def __init__(self, name: str, tally: Tally, seed: int) -> None:
        self.name, self.tally = name, tally
        self._dice = random.Random(f"{seed}:{name}")

    @property
    def has_time(self) -> bool:
        """Whether there is time for one more session."""
        return time.monotonic() < self.tally.until

    async def work(self, client: Client) -> None:
        """Build a program and improve it."""
        s = await self._program(client, f"{self.name}-{self._dice.getrandbits(48):x}")
        for _ in range(ROUNDS):
            for tool in ("backward", "step", "forward"):
                await self.settled(client, tool, session_id=s)
        await self.settled(client, "evaluate", session_id=s, split="train")
        report = await self.settled(client, "inspect", session_id=s, what="report")
        assert report["view"]["proposals"] == {"accepted": ROUNDS}, report
        self.tally.done["sessions"] += 1

    async def _program(self, client: Client, mark: str) -> str:
        """A prompt on a few questions, and a judge."""
        made = await self.settled(client, "create_variable", role="prompt", value=f"Be {mark}.")
        s = str(made["session_id"])
        await self.settled(client, "create_variable", session_id=s, role="q", example_field="q")
        rows = [{"q": f"question {n} of {mark}"} for n in range(QUESTIONS)]
        await self.settled(client, "add_examples", session_id=s, split="train", examples=rows)
        asked: Facts = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
        await self.settled(client, "forward", session_id=s, **asked)
        judged: Facts = {"kind": "judge", "instruction": "Good?", "inputs": {"output": "v3"}}
        await self.settled(client, "compute_loss", session_id=s, **judged)
        return s

    async def settled(self, client: Client, tool: str, **arguments: Any) -> Facts:
        """The result of a call, which is made, and gone on with, until it is done."""
        facts = await self._asked(client, tool, arguments, hurry=tool in REPEATABLE)
        for _ in range(SETTLES):
            next_step = facts.get("next", "")
            if facts.get("status") == "done":
                return facts
            if not facts or "same call" in next_step:
                facts = await self._asked(client, tool, arguments)
            elif "resume(" in next_step:
                same = {"session_id": arguments["session_id"]}
                facts = await self._asked(client, "resume", same)
            elif "again in a moment" in next_step:
                facts = await self._asked(client, tool, arguments)
            else:
                break
        raise AssertionError(f"{self.name}: {tool} did not end: {facts}")

    async def _asked(
        self, client: Client, tool: str, arguments: Facts, *, hurry: bool = False
    ) -> Facts:
        """What a call gives; nothing when this client, in a hurry, hung up on it."""
        patience = self._dice.random() if hurry and self._dice.random() < HANGS_UP else None
        self.tally.done["tool calls"] += 1
        try:
            async with asyncio.timeout(patience):
                result = await client.call_tool(tool, arguments)
        except TimeoutError:
            self.tally.done["hung up on"] += 1
            return {}
        facts = result.structured_content or {}
        if facts.get("status") == "failed":
            self.tally.done[f"refused: {facts.get('error', '')[:60]}"] += 1
        return facts
