"""The store's contract: who owns a run, which writes are fenced off, what is all or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textgrad_mcp.engine.store import StepRecord, Store
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Message, Purpose, Usage
from textgrad_mcp.schemas.errors import Conflict, NotFound
from textgrad_mcp.schemas.graph import Gradient, Kind, Proposal, Run, Session, Value, Variable

from ...helpers import MEMORY

A, B = "host:1:a", "host:2:b"


def using(main: Callable[[Store, Session], Awaitable[None]]) -> None:
    """Run `main` with a new store and a session that holds the parameter v1."""

    async def run() -> None:
        store = Store(MEMORY)
        await store.open()
        session = await store.sessions.create("me", "title")
        leaf = Variable(
            id="", kind=Kind.PARAMETER, role="r", value="one", version=1, requires_grad=True
        )
        await store.graph.add_leaf(session.pk, leaf)
        try:
            await main(store, session)
        finally:
            await store.close()

    asyncio.run(run())


async def begun(store: Store, session: Session, owner: str = A) -> Run:
    """A run under way."""
    return await store.runs.start(session.pk, session.id, "backward", {}, "digest", owner)


async def expire(store: Store) -> None:
    """Let every lease run out."""

    def job(db: sqlite3.Connection) -> None:
        db.execute("UPDATE runs SET lease = 0")

    await store.db.write(job)


@pytest.mark.requirement("one-run")
def test_a_session_has_one_active_run_whoever_asks() -> None:
    async def main(store: Store, session: Session) -> None:
        outcomes = await asyncio.gather(
            *(begun(store, session, owner) for owner in (A, B, A)), return_exceptions=True
        )
        assert [type(o) for o in outcomes] == [Run, Conflict, Conflict]
        assert await store.runs.end(session.pk, "r1", A, "done", result={})
        assert (await begun(store, session, B)).id == "r2"

    using(main)


@pytest.mark.requirement("takeover")
def test_a_run_is_taken_over_only_when_its_owner_is_gone() -> None:
    async def main(store: Store, session: Session) -> None:
        async def claim(owner: str, *dead: str) -> bool:
            found = await store.runs.claim(session.pk, session.id, "r1", owner, set(dead))
            return found is not None

        await begun(store, session)
        assert not await claim(B)
        assert await claim(B, A)
        assert not await claim(A)
        await store.runs.keep_alive(B)
        assert not await claim(A)
        await expire(store)
        assert await claim(A)

    using(main)


@pytest.mark.requirement("takeover")
@pytest.mark.parametrize(
    ("status", "claimed"),
    [("needs_completions", True), ("failed", True), ("done", False), ("cancelled", False)],
)
def test_a_run_that_waits_or_failed_may_be_continued_by_anyone_and_an_ended_one_by_no_one(
    status: str, claimed: bool
) -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        await store.runs.end(session.pk, "r1", A, status, result={})
        found = await store.runs.claim(session.pk, session.id, "r1", B, set())
        assert (found is not None) is claimed

    using(main)


@pytest.mark.requirement("takeover")
def test_of_many_who_claim_a_dead_run_one_gets_it() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        claims = [
            store.runs.claim(session.pk, session.id, "r1", f"host:{n}:x", {A}) for n in range(8)
        ]
        found = await asyncio.gather(*claims)
        assert sum(run is not None for run in found) == 1

    using(main)


@pytest.mark.requirement("takeover")
def test_what_a_run_writes_after_it_was_taken_over_is_refused() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        await store.runs.claim(session.pk, session.id, "r1", B, {A})
        late = (1, A)
        gradient = Gradient(variable="v1", version=1, text="late")
        with pytest.raises(Conflict, match="taken over"):
            await store.history.add_gradients(session.pk, [gradient], late)
        with pytest.raises(Conflict):
            await store.values.save(session.pk, {("v1", 0): Value(text="late")}, [], late)
        assert not await store.runs.end(session.pk, "r1", A, "done", result={})
        assert await store.history.gradients(session.pk) == []
        await store.history.add_gradients(session.pk, [gradient], (1, B))
        assert len(await store.history.gradients(session.pk)) == 1

    using(main)


@pytest.mark.requirement("whole-steps")
def test_a_step_is_recorded_whole_or_not_at_all() -> None:
    async def main(store: Store, session: Session) -> None:
        def proposal(parent: int) -> Proposal:
            words: dict[str, Any] = {
                "step": "",
                "variable": "v1",
                "text": f"from {parent}",
                "reason": "",
            }
            return Proposal(parent=parent, verdict="accepted", **words)

        gradient = Gradient(variable="v1", version=1, text="g")
        await store.history.add_gradients(session.pk, [gradient], None)
        record = StepRecord(accepted=True, gate="", proposals=[proposal(1), proposal(9)])
        with pytest.raises(Conflict, match="changed meanwhile"):
            await store.history.record_step(session.pk, record, None)
        assert await store.history.steps(session.pk) == []
        assert await store.history.proposals(session.pk) == []
        assert (await store.graph.variables(session.pk))["v1"].value == "one"
        assert len(await store.history.gradients(session.pk)) == 1

    using(main)


@pytest.mark.requirement("asked-once")
def test_the_first_answer_stands_and_is_counted_once() -> None:
    async def main(store: Store, session: Session) -> None:
        messages = (Message(role="user", content="hi"),)
        request = CompletionRequest(purpose=Purpose.FORWARD, messages=messages)
        call = await store.calls.open(session.pk, request, None, "somebody")
        assert await store.calls.open(session.pk, request, None, "somebody") == call
        usage = Usage(prompt_tokens=3, completion_tokens=4, cost=0.5)
        first, second = (Completion(text=t, usage=usage) for t in ("first", "second"))
        assert await store.calls.answer(session.pk, {call: first}) == [call]
        assert await store.calls.answer(session.pk, {call: second}) == []
        known = await store.calls.answered(session.pk, request.key)
        assert known is not None
        assert known.text == "first"
        total = await store.sessions.get(session.id, "me")
        assert (total.used_calls, total.used_tokens, total.used_cost) == (1, 7, 0.5)

    using(main)


@pytest.mark.requirement("owners")
def test_a_foreign_session_is_as_good_as_none() -> None:
    async def main(store: Store, session: Session) -> None:
        words = []
        for id_, owner in ((session.id, "somebody else"), ("tg_none", "me")):
            with pytest.raises(NotFound) as caught:
                await store.sessions.get(id_, owner)
            words.append(str(caught.value))
        assert words[0] == words[1]
        assert await store.sessions.of_owner("somebody else") == []

    using(main)


@pytest.mark.requirement("unguessable")
def test_session_ids_cannot_be_guessed() -> None:
    async def main(store: Store, session: Session) -> None:
        ids = {(await store.sessions.create("me", "")).id for _ in range(50)}
        assert len(ids) == 50
        assert all(len(i) >= len("tg_") + 22 for i in ids)  # 128 bits in base 64

    using(main)


@pytest.mark.requirement("many-processes")
def test_numbers_count_up_in_each_session_without_gaps_even_at_once() -> None:
    async def main(store: Store, session: Session) -> None:
        other = await store.sessions.create("me", "")
        leaf = Variable(id="", kind=Kind.CONSTANT, role="r", value="x", version=1)
        made = await asyncio.gather(
            *(store.graph.add_leaf(s.pk, leaf) for _ in range(20) for s in (session, other))
        )
        assert sorted(int(v.id[1:]) for v in made[::2]) == list(range(2, 22))
        assert sorted(int(v.id[1:]) for v in made[1::2]) == list(range(1, 21))

    using(main)
