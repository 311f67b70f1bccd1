"""Drives one session over MCP and keeps its model in step; the rules stand in the tests."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from .helpers import Facts, assisted, text_of
from .served import Served
from .session_model import Book, Leaf

BATCH = 2
MEMORY_DISK = next((d for d in ("/dev/shm",) if Path(d).is_dir()), None)
"""Thousands of commits, none of which has to survive us."""


class Driver(RuleBasedStateMachine):
    """A session, its model, and the run that waits for completions, if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY_DISK))
        self.served = Served(assisted(self.folder / "t.db", minibatch=BATCH))
        self.book = Book(BATCH)
        self.losses: list[str] = []
        self.session = ""
        self.work: tuple[str, Facts] | None = None
        self.pending: list[Facts] = []
        self.answered: set[tuple[str | None, str]] = set()
        self.repairs: dict[str, str] = {}
        self.proposed: set[str] = set()
        self.turn = 0

    def teardown(self) -> None:
        self.served.close()
        shutil.rmtree(self.folder)

    # Calls

    def call(self, tool: str, **arguments: Any) -> Facts:
        """The structured content of a call that must succeed."""
        facts = self.attempt(tool, **arguments)
        assert facts["status"] in ("done", "needs_completions"), facts
        return facts

    def attempt(self, tool: str, **arguments: Any) -> Facts:
        """The structured content of a call."""
        given = {"session_id": self.session} | arguments if self.session else arguments
        result = self.served.run(self.served.client.call_tool(tool, given))
        assert bool(result.is_error) == ((result.structured_content or {})["status"] == "failed")
        assert "Error executing" not in text_of(result)
        return dict(result.structured_content or {})

    def refused(self, tool: str, **arguments: Any) -> str:
        """The error of a call that must be refused and change nothing."""
        before = self.document()
        facts = self.attempt(tool, **arguments)
        assert facts["status"] == "failed", facts
        assert facts["next"], facts
        assert self.document() == before
        return str(facts["error"])

    def document(self) -> Facts:
        """Everything the session holds, but for when it was last used."""

        async def export() -> Facts:
            store = await self.served.store()
            found = await store.sessions.get(self.session, "local")
            return await store.export.export_session(found.pk)

        exported = self.served.run(export())
        exported["session"].pop("updated")
        return exported

    # What came back

    def begin(self, tool: str, **arguments: Any) -> None:
        """Make a call that may need completions."""
        self.work = (tool, arguments)
        self.take(self.call(tool, **arguments))

    def take(self, facts: Facts) -> None:
        """Note what is pending, or what the finished run changed."""
        assert self.work is not None
        if facts["status"] == "needs_completions":
            self.pending = facts["pending"]
            assert facts["pending_total"] == len(self.pending)
            asked = {(p.get("system"), p["prompt"]) for p in self.pending}
            assert len(asked) == len(self.pending)
            assert not asked & self.answered, "something answered was asked again"
            return
        tool, _ = self.work
        self.work, self.pending = None, []
        if tool == "backward":
            self.took_gradients(facts)
        elif tool == "step":
            self.took_step(facts)
        elif "variable" not in facts:
            self.took_values()

    def took_values(self) -> None:
        """After a recomputation nothing is missing."""
        cells = {(f"v{c['variable']}", c["place"]) for c in self.document()["cells"]}
        missing = set(self.book.cells()) - cells
        assert not missing

    def took_gradients(self, facts: Facts) -> None:
        """Every parameter upstream of a loss that found something has feedback, and no other."""
        wanted = {
            p
            for loss in self.losses
            if self.book.criticised(loss)
            for p in self.book.parameters_of(loss)
        }
        assert {g["variable"] for g in facts.get("gradients", [])} == wanted
        for p in wanted:
            self.book.unspent[p] = len(self.leaf(p).texts)
            self.book.losses[p] = list(self.losses)

    def took_step(self, facts: Facts) -> None:
        """Every parameter with feedback has a new text, and its feedback is spent."""
        assert facts["accepted"] is True
        assert set(facts["variables"]) == set(self.book.unspent)
        for one in facts["proposals"]:
            assert one["text"] in self.proposed
            self.leaf(one["variable"]).texts.append(one["text"])
        self.book.unspent.clear()

    def leaf(self, variable: str) -> Leaf:
        """A leaf of the model."""
        found = self.book.things[variable]
        assert isinstance(found, Leaf)
        return found

    def one(self, pick: int) -> str:
        """A variable."""
        among = [*self.book.things]
        return among[pick % len(among)]

    def some(self, picks: list[int]) -> dict[str, str]:
        """Input names with a variable each; one may come twice."""
        return {f"x{n}": self.one(pick) for n, pick in enumerate(picks)}
