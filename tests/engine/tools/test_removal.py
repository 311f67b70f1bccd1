"""What was added by mistake is taken out with what rests on it; what was paid for stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import NewRun
from textgrad_mcp.schemas.errors import Conflict, NotFound
from textgrad_mcp.schemas.results import (
    BackwardResult,
    ForwardResult,
    OptimizeResult,
)

from ...helpers import (
    ME,
    Facts,
    Scripted,
    Tools,
    an_engine,
    answered,
    assisted,
    drive,
    made,
)
from ...small_program import ROWS, a_program, document, gone, judged, run

# said before it is done


@pytest.mark.requirement("said-first")
@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["v5"], "op2 -> v5 (loss)"),
        (["op2"], "op2 -> v5 (loss)"),
        (["v1"], "v1 (prompt), op1 -> v4 (response of a language model), op2 -> v5 (loss)"),
        (["e2", "v3"], "v3 (a), op2 -> v5 (loss), e2"),
        (["validation", "e5"], "e5, e6"),
    ],
)
def test_the_first_call_says_what_would_go_and_changes_nothing(ids: list[str], says: str) -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        before = await document(engine.store, s)
        found = await engine.remove(ME, session_id=s, ids=ids)
        assert found.notes[0] == f"Would be removed: {says}."
        assert found.next.startswith("Nothing was changed.")
        assert f"remove={ids}, confirm=true" in found.next
        assert await document(engine.store, s) == before
        done = await engine.remove(ME, session_id=s, ids=ids, confirm=True)
        assert done.notes[0] == f"Removed: {says}."
        assert done.notes[1:] == found.notes[1:]

    run(main)


def test_of_many_things_the_first_are_named_and_the_others_counted() -> None:
    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="prompt", value="x")).session_id or ""
        for _ in range(30):
            await engine.forward(
                ME, session_id=s, operation="format", template="{x}", inputs={"x": "v1"}
            )
        [said, *_] = (await engine.remove(ME, session_id=s, ids=["v1"])).notes
        assert said.startswith("Would be removed: v1 (prompt), op1 -> v2 (formatted text), ")
        assert said.endswith(" and 11 more.")

    run(main)


# what goes, and what stays


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """For each variable the earlier ones it reads (none: a leaf), and some to take out."""
    size = draw(st.integers(2, 12))
    earlier = [st.sets(st.integers(0, n - 1), max_size=3) for n in range(1, size)]
    reads: list[list[int]] = [[], *(sorted(draw(some)) for some in earlier)]
    return reads, draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=3, unique=True))


@pytest.mark.requirement("taken-out")
@settings(max_examples=30, deadline=None)
@given(graphs())
def test_exactly_what_rests_on_it_goes_and_the_rest_is_whole(
    graph: tuple[list[list[int]], list[int]],
) -> None:
    reads, roots = graph
    down = set(roots)
    for n, sources in enumerate(reads):
        if down & set(sources):
            down.add(n)

    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="leaf", value="0")).session_id or ""
        for sources in reads[1:]:
            names = {f"x{i}": f"v{i + 1}" for i in sources}
            if not names:
                await engine.create_variable(ME, session_id=s, role="leaf", value="y")
                continue
            template = " ".join(f"{{{name}}}" for name in names)
            await engine.forward(
                ME, session_id=s, operation="format", template=template, inputs=names
            )
        before = await document(engine.store, s)
        await gone(engine, s, *(f"v{n + 1}" for n in roots))
        after = await document(engine.store, s)
        left = {n + 1 for n in range(len(reads))} - {n + 1 for n in down}
        assert {row["n"] for row in after["variables"]} == left
        kept = {"variables": "n", "operations": "output", "cells": "variable"}
        for table, key in kept.items():
            assert after[table] == [r for r in before[table] if r[key] in left]
        assert await engine.store.maintenance.check() == []
        await engine.store.export.import_session("other", after)
        made_now = await engine.create_variable(ME, session_id=s, role="new", value="z")
        assert made_now.variable == f"v{len(reads) + 1}"  # no number is used again

    run(main)


@pytest.mark.requirement("taken-out", "asked-once")
def test_what_was_paid_for_stays_and_the_same_thing_made_again_asks_nothing() -> None:
    answerer = Scripted()

    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        asked = len(answerer.asked)
        before = await document(engine.store, s)
        await gone(engine, s, "v4")
        after = await document(engine.store, s)
        assert (after["calls"], after["session"]) == (before["calls"], before["session"])
        inputs = {"q": "v2"}
        output = made(
            await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs=inputs)
        )
        assert output == "v6"
        again = await engine.compute_loss(
            ME,
            session_id=s,
            kind="judge",
            inputs={"output": output, "answer": "v3"},
            instruction="Good?",
        )
        assert isinstance(again, ForwardResult)
        assert (again.loss, again.operation, again.mean_score) == ("v7", "op4", 0.5)
        assert len(answerer.asked) == asked

    run(main, answerer=answerer)


@pytest.mark.requirement("taken-out")
def test_steps_proposals_and_versions_of_a_removed_text_can_still_be_read() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await engine.backward(ME, session_id=s)
        await engine.step(ME, session_id=s)
        await engine.evaluate(ME, session_id=s)
        views = ("steps", "gradients", "calls", "runs", "report")
        before = [(await engine.inspect(ME, session_id=s, what=what)).view for what in views[:4]]
        [told] = [n for n in await gone(engine, s, "v1") if "Versions" in n]
        assert told == "Versions, steps and proposals of a removed text can still be read."
        after = [(await engine.inspect(ME, session_id=s, what=what)).view for what in views[:4]]
        assert after == before
        assert (await engine.inspect(ME, session_id=s, what="report")).view["scores"]
        proposal = await engine.inspect(ME, session_id=s, id="p1")
        assert proposal.view["proposals"][0]["variable"] == "v1"
        shown = (await engine.inspect(ME, session_id=s, id="v1")).view
        assert (shown["removed"], shown["variable"]["role"]) == (True, "prompt")
        assert shown["versions"] == [2, 1]
        first = (await engine.inspect(ME, session_id=s, id="v1@1")).view
        assert (first["removed"], first["text"]) == (True, "Be brief.")
        operation = (await engine.inspect(ME, session_id=s, id="op1")).view["operation"]
        assert (operation["system"], operation["inputs"]) == ("v1", {"q": "v2"})
        example = (await gone(engine, s, "e6"), await engine.inspect(ME, session_id=s, id="e6"))[1]
        assert example.view["examples"][0]["fields"] == ROWS[5]

    run(main)


def test_a_thing_that_was_taken_out_is_told_as_such_wherever_it_is_named() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("create_variable", session_id=s, role="r", value="y")
        await call("add_examples", session_id=s, split="train", examples=ROWS[:2])
        await call("revert", session_id=s, remove=["v1", "e1"], confirm=True)
        with_v1: list[tuple[str, Facts]] = [
            ("revert", {"variable": "v1", "version": 1}),
            ("revert", {"remove": ["v1"]}),
            ("forward", {"operation": "llm", "inputs": {"x": "v1"}}),
            ("compute_loss", {"kind": "feedback", "feedback": "f", "inputs": {"x": "v1"}}),
            ("backward", {"losses": ["v1"]}),
            ("step", {"variables": ["v1"]}),
            ("evaluate", {"loss": "v1"}),
            ("optimize", {"loss": "v1"}),
        ]
        for tool, arguments in with_v1:
            words = await call.refused(tool, session_id=s, **arguments)
            assert "error: v1 was taken out of this session.\nnext: inspect(" in words
        words = await call.refused("forward", session_id=s, examples=["e1"])
        assert "e1 was taken out of this session." in words

    drive(main, assisted())


# losses, gradients, runs


@pytest.mark.requirement("taken-out")
def test_of_two_losses_one_can_go_and_its_gradients_with_it() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await judged(engine, s)
        with pytest.raises(Conflict, match="several losses"):
            await engine.backward(ME, session_id=s)
        await engine.backward(ME, session_id=s, losses=["v5"])
        await engine.evaluate(ME, session_id=s, loss="v5")
        await gone(engine, s, "v5")
        with pytest.raises(Conflict, match="no gradient to step from"):
            await engine.step(ME, session_id=s)
        found = await engine.backward(ME, session_id=s)
        assert isinstance(found, BackwardResult)
        assert found.gradients
        done = await engine.optimize(ME, session_id=s, strategy="gradient", steps=1)
        assert isinstance(done, OptimizeResult)
        assert done.status == "done"

    run(main)


def test_a_sum_goes_with_a_loss_that_it_adds_up() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await judged(engine, s)
        await engine.compute_loss(ME, session_id=s, kind="sum", inputs={"a": "v5", "b": "v6"})
        assert await gone(engine, s, "v6") == ["Removed: op3 -> v6 (loss), op4 -> v7 (loss)."]
        assert (await engine.forward(ME, session_id=s)).status == "done"
        assert (await engine.backward(ME, session_id=s)).status == "done"

    run(main)


@pytest.mark.requirement("one-run")
def test_nothing_is_taken_out_or_mended_while_a_run_is_active(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("add_examples", session_id=s, split="train", examples=ROWS[:1])
        loss = {"session_id": s, "kind": "judge", "inputs": {"x": "v1"}, "instruction": "Good?"}
        assert (await call("compute_loss", **loss))["status"] == "needs_completions"
        for confirm in (False, True):
            words = await call.refused("revert", session_id=s, remove=["v1"], confirm=confirm)
            assert "waiting for completions" in words
            assert "cancel=true" in words
        changes = {"e1": {"q": "other"}}
        words = await call.refused("add_examples", session_id=s, split="train", examples=changes)
        assert "waiting for completions" in words
        await call("resume", session_id=s, cancel=True)
        await call("revert", session_id=s, remove=["v2"], confirm=True)
        assert (await call("forward", session_id=s))["status"] == "done"

    drive(main, assisted(tmp_path / "t.db"))


def test_a_run_in_another_process_is_seen_by_the_transaction_itself() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        pk = (await engine.store.sessions.get(s, "local")).pk
        await engine.store.runs.start(pk, s, NewRun("forward", {}, "d", "another"))
        for act in (
            engine.store.removal.remove(pk, ["v5"], []),
            engine.store.removal.mend(pk, "train", {1: {"q": "x"}}),
        ):
            with pytest.raises(Conflict, match="is running in this session"):
                await act

    run(main)


def test_a_run_that_failed_does_not_go_on_over_what_is_gone() -> None:
    def never(request: object) -> str:
        return "no JSON"

    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
        failed = await engine.compute_loss(
            ME, session_id=s, kind="judge", inputs={"x": "v1"}, instruction="Good?"
        )
        assert failed.status == "failed"
        assert isinstance(failed, ForwardResult)
        await gone(engine, s, failed.loss or "")
        with pytest.raises(Conflict, match="was cancelled"):
            await engine.resume(ME, session_id=s)
        assert (await engine.forward(ME, session_id=s)).status == "done"

    run(main, answerer=Scripted(never))


# files


def test_the_file_of_a_removed_text_stays_as_it_is(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        tmp_path.joinpath("prompt.md").write_text("Be brief.")
        bound = await engine.create_variable(ME, role="prompt", file="prompt.md", write=True)
        s = bound.session_id or ""
        assert "The file 'prompt.md' stays as it is." in await gone(engine, s, "v1")
        tmp_path.joinpath("prompt.md").write_text("changed by hand")
        await engine.create_variable(ME, session_id=s, role="x", value="y")
        await engine.forward(
            ME, session_id=s, operation="format", template="{x}", inputs={"x": "v2"}
        )
        assert tmp_path.joinpath("prompt.md").read_text() == "changed by hand"

    run(main, workspace=tmp_path)


# what cannot be


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "either variable"),
        ({"variable": "v1", "version": 1, "remove": ["v1"]}, "either variable"),
        ({"version": 1, "remove": ["v1"]}, "either variable"),
        ({"remove": []}, "either variable"),
        ({"remove": ["v9"]}, "There is no variable 'v9'"),
        ({"remove": ["op9"]}, "There is no operation 'op9'"),
        ({"remove": ["v1", "e9"]}, "no example 'e9'"),
        ({"remove": ["train"]}, "The split train is empty"),
        ({"remove": ["s1"]}, "There is no variable 's1'"),
        ({"remove": [""]}, "either variable"),
    ],
)
def test_a_removal_that_makes_no_sense_is_refused_and_nothing_is_done(
    arguments: Facts, says: str
) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        words = await call.refused("revert", session_id=s, confirm=True, **arguments)
        assert says in words
        assert (await call("inspect", session_id=s, id="v1"))["view"]["text"] == "x"

    drive(main, assisted())


@pytest.mark.requirement("owners")
def test_nobody_takes_out_or_mends_what_is_anothers(tmp_path: Path) -> None:
    async def main() -> None:
        async with an_engine(path=tmp_path / "t.db") as engine:
            s = await a_program(engine)
            other = type(ME)(owner="other")
            with pytest.raises(NotFound, match="no session with this session_id"):
                await engine.remove(other, session_id=s, ids=["v1"], confirm=True)
            with pytest.raises(NotFound, match="no session with this session_id"):
                await engine.mend(other, session_id=s, split="train", changes={"e1": {"q": "x"}})

    asyncio.run(main())


# answers that take a while


def test_a_session_goes_on_after_a_removal_with_an_assistant(tmp_path: Path) -> None:
    def reply(pending: Facts) -> Any:
        if pending["purpose"].startswith("judge"):
            return {"feedback": "Shorter.", "score": 0.4}
        return {"value": "shorter"} if pending["purpose"].startswith("update") else {"v1": "Cut."}

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        wrong = await call(
            "compute_loss", session_id=s, kind="judge", inputs={"x": "v1"}, instruction="wrong"
        )
        await answered(call, wrong, reply)
        await call("revert", session_id=s, remove=[wrong["loss"]], confirm=True)
        right = await call(
            "compute_loss", session_id=s, kind="judge", inputs={"x": "v1"}, instruction="Short?"
        )
        await answered(call, right, reply)
        await answered(call, await call("backward", session_id=s), reply)
        done = await answered(call, await call("step", session_id=s), reply)
        assert done["accepted"]

    drive(main, assisted(tmp_path / "t.db"))
