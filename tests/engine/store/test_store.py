"""The store's contract: who owns a run, which writes are fenced off, what is all or nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textgrad_mcp.engine.store import Admitted, NewRun, StepRecord, Store, runs
from textgrad_mcp.engine.store.additions import insert_variable
from textgrad_mcp.engine.store.admission import RECENT
from textgrad_mcp.engine.store.dbapi import Connection
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Message, Purpose, Usage
from textgrad_mcp.schemas.errors import Conflict, NotFound
from textgrad_mcp.schemas.graph import Gradient, Kind, Proposal, Run, Session, Value, Variable

from ...helpers import MEMORY

pytestmark = pytest.mark.each_store

A, B = "process a", "process b"


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


async def begun(store: Store, session: Session, owner: str = A, digest: str = "d") -> Admitted:
    """A run under way."""
    return await store.runs.start(session.pk, session.id, NewRun("backward", {}, digest, owner))


async def present(store: Store, session: Session) -> Run:
    """The run r1 as it is now."""
    run = await store.runs.get(session.pk, session.id, "r1")
    assert run is not None
    return run


@pytest.mark.requirement("one-run")
def test_a_session_has_one_active_run_whoever_asks() -> None:
    async def main(store: Store, session: Session) -> None:
        calls = (begun(store, session, owner, owner) for owner in (A, B, A + B))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(o) for o in outcomes] == [Admitted, Conflict, Conflict]
        assert await store.runs.end(session.pk, "r1", A, "done", result={})
        assert (await begun(store, session, B)).run.id == "r2"

    using(main)


@pytest.mark.requirement("one-admission")
def test_of_the_same_call_made_by_several_one_begins_and_the_others_get_its_run() -> None:
    async def main(store: Store, session: Session) -> None:
        calls = (begun(store, session, owner) for owner in (A, B, A + B))
        admitted = await asyncio.gather(*calls)
        assert [(one.run.id, one.mine) for one in admitted] == [
            ("r1", True),
            ("r1", False),
            ("r1", False),
        ]

    using(main)


@pytest.mark.requirement("one-admission")
def test_a_call_that_came_in_before_the_same_one_ended_gets_its_run_and_a_later_one_does_not() -> (
    None
):
    async def main(store: Store, session: Session) -> None:
        def came(seconds: float) -> NewRun:
            return NewRun("backward", {}, "d", B, came=time.monotonic() + seconds)

        await begun(store, session)
        await store.runs.end(session.pk, "r1", A, "done", result={})
        twin = await store.runs.start(session.pk, session.id, came(-1.0))
        assert (twin.run.id, twin.run.status, twin.mine) == ("r1", "done", False)
        later = await store.runs.start(session.pk, session.id, came(1.0))
        assert (later.run.id, later.mine) == ("r2", True)

    using(main)


@pytest.mark.requirement("one-admission", "quotas")
def test_of_what_needed_nothing_the_newest_are_kept_for_those_who_called_meanwhile() -> None:
    async def main(store: Store, session: Session) -> None:
        came, digests = time.monotonic() - 1, [f"d{n}" for n in range(RECENT + 2)]
        for digest in digests:
            run = (await begun(store, session, A, digest)).run
            assert await store.runs.end_quietly(session.pk, run, {"next": digest})
        kept = [await store.runs.standing(session.pk, session.id, d, came) for d in digests]
        assert (sum(run is not None for run in kept), kept[-1] is not None) == (RECENT, True)
        assert await store.runs.last(session.pk, session.id) is None

    using(main)


@pytest.mark.requirement("one-admission")
def test_what_a_call_adds_is_there_with_its_run_or_not_at_all() -> None:
    leaf = Variable(id="", kind=Kind.CONSTANT, role="r", value="x", version=1)

    async def main(store: Store, session: Session) -> None:
        def adds(db: Connection) -> dict[str, object]:
            return {"made": insert_variable(db, session.pk, leaf).id}

        await begun(store, session)
        new = NewRun("forward", {}, "another", B)
        with pytest.raises(Conflict, match="one thing at a time"):
            await store.runs.start(session.pk, session.id, new, adds)
        assert list(await store.graph.variables(session.pk)) == ["v1"]
        await store.runs.end(session.pk, "r1", A, "done", result={})
        assert (await store.runs.start(session.pk, session.id, new, adds)).run.args == {
            "made": "v2"
        }
        assert list(await store.graph.variables(session.pk)) == ["v1", "v2"]

    using(main)


@pytest.mark.requirement("one-admission")
def test_a_change_beside_a_run_is_refused_where_it_is_written() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        for change in (
            store.examples.add(session.pk, "train", [{"q": "one"}]),
            store.history.set_value(session.pk, "v1", "two", "revert"),
        ):
            with pytest.raises(Conflict, match="one thing at a time"):
                await change
        assert await store.examples.split(session.pk, "train") == []
        await store.runs.end(session.pk, "r1", A, "done", result={})
        assert await store.history.set_value(session.pk, "v1", "two", "revert") == (2, True)
        assert await store.history.set_value(session.pk, "v1", "two", "revert") == (2, False)

    using(main)


@pytest.mark.requirement("takeover")
def test_a_run_is_taken_over_only_when_its_owner_gave_no_sign_since_it_was_read() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        read = await present(store, session)
        assert await store.runs.claim(session.pk, read, B) is None
        assert await store.runs.keep_alive(A, [(session.pk, "r1")]) == {(session.pk, "r1")}
        assert await store.runs.claim(session.pk, read, B, dead=True) is None
        read = await present(store, session)
        assert await store.runs.claim(session.pk, read, B, dead=True) is not None
        assert await store.runs.keep_alive(A, [(session.pk, "r1")]) == set()
        assert await store.runs.claim(session.pk, read, A, dead=True) is None

    using(main)


@pytest.mark.requirement("takeover")
def test_a_run_that_its_process_gave_back_is_anybodys_at_once() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        await store.runs.give_back(A)
        claimed = await store.runs.claim(session.pk, await present(store, session), B)
        assert claimed is not None
        assert claimed.run.process == B

    using(main)


@pytest.mark.requirement("takeover")
def test_while_the_file_was_locked_silence_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        read = await present(store, session)
        monkeypatch.setattr(runs, "LATE_SECONDS", -1.0)
        assert await store.runs.claim(session.pk, read, B, dead=True) is None

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
        found = await store.runs.claim(session.pk, await present(store, session), B)
        assert (found is not None) is claimed

    using(main)


@pytest.mark.requirement("one-run")
def test_an_earlier_run_that_is_gone_on_with_is_the_one_to_resume() -> None:
    async def main(store: Store, session: Session) -> None:
        for n in range(2):
            await begun(store, session, digest=f"{n}")
            await store.runs.end(session.pk, f"r{n + 1}", A, "failed" if n == 0 else "done")
        newest = await store.runs.last(session.pk, session.id)
        assert newest is not None
        assert newest.id == "r2"
        assert await store.runs.claim(session.pk, await present(store, session), B)
        last = await store.runs.last(session.pk, session.id)
        assert last is not None
        assert last.id == "r1"

    using(main)


@pytest.mark.requirement("takeover")
def test_of_many_who_claim_a_dead_run_one_gets_it() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        read = await present(store, session)
        claims = [store.runs.claim(session.pk, read, f"p{n}", dead=True) for n in range(8)]
        found = await asyncio.gather(*claims)
        assert sum(run is not None for run in found) == 1

    using(main)


@pytest.mark.requirement("takeover")
def test_what_a_run_writes_after_it_was_taken_over_is_refused() -> None:
    async def main(store: Store, session: Session) -> None:
        await begun(store, session)
        read = await present(store, session)
        await store.runs.claim(session.pk, read, B, dead=True)
        late = (1, A)
        gradient = Gradient(variable="v1", version=1, text="late")
        with pytest.raises(Conflict, match="taken over"):
            await store.history.add_gradients(session.pk, [gradient], late)
        with pytest.raises(Conflict):
            await store.values.save(session.pk, {("v1", 0): Value(text="late")}, [], late)
        with pytest.raises(Conflict):
            await store.runs.save_state(session.pk, late, {"late": True})
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
