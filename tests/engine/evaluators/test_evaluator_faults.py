"""Whose fault it is when an evaluator fails: a text's, which counts as 0, or the program's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.program.operations.evaluator import FEW
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.results import (
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    Result,
    StepResult,
)

from ...evaluator_programs import PRELUDE
from ...helpers import ME, Facts, Scripted, Tools, an_engine, assisted, drive, plain_reply

PROGRAM = (
    PRELUDE
    + """
text = json.load(sys.stdin)['inputs']['text']
folder = sys.argv[1]
open(os.path.join(folder, 'runs'), 'a').write(text + '\\n')
if os.path.exists(os.path.join(folder, 'broken')): sys.exit('no licence')
if 'crash' in text: sys.exit('IndexError: no atom 7')
if 'late' in text: time.sleep(60)
if 'words' in text: print('all fine'); sys.exit(0)
if 'nan' in text: print('{"score": NaN}'); sys.exit(0)
if 'high' in text: print('{"score": 7}'); sys.exit(0)
if 'large' in text: used = bytearray(200 << 20); time.sleep(60)
if 'killed' in text: os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps({'score': 0.9 if 'better' in text else 0.5, 'feedback': 'about ' + text}))
"""
)
FAILURES = {
    "crash": "it exited with code 1. Its stderr ends: IndexError: no atom 7",
    "late": "it did not finish within 3 s",
    "words": "but printed all fine",
    "nan": "its score is NaN",
    "high": "its score is 7, no number from 0 to 1",
    "large": "out of memory (used ",
    "killed": "killed by signal 9 (SIGKILL)",
}


def evaluators(place: Path) -> dict[str, Any]:
    """The settings of `it`, which runs PROGRAM and notes each run in `place`."""
    command = [sys.executable, "-c", PROGRAM, str(place)]
    return {"it": {"command": command, "timeout": 3.0, "memory_mb": 100, "slots": 2}}


def runs(place: Path) -> list[str]:
    """The texts that the program was run on so far."""
    return place.joinpath("runs").read_text().splitlines()


def writing(*texts: str) -> Scripted:
    """An answerer whose rewrites are these texts, one after the other, the last for ever."""
    left = list(texts)

    def reply(request: CompletionRequest) -> str:
        if request.purpose is Purpose.UPDATE:
            return json.dumps({"value": left.pop(0) if len(left) > 1 else left[0]})
        if request.purpose is Purpose.FORWARD:  # the program says what it is given
            return request.messages[-1].content
        return plain_reply(request)

    return Scripted(reply)


def run(
    main: Callable[[Engine], Awaitable[None]],
    place: Path,
    answerer: Scripted | None = None,
    **more: Any,
) -> None:
    """Runs `main` with an engine that knows the evaluator."""

    async def whole() -> None:
        async with an_engine(answerer, evaluators=evaluators(place), **more) as engine:
            await main(engine)

    asyncio.run(whole())


async def a_text(engine: Engine, text: str) -> tuple[str, Result]:
    """A session with one text, judged by the program."""
    s = (await engine.create_variable(ME, role="r", value=text)).session_id or ""
    return s, await engine.compute_loss(
        ME, session_id=s, kind="evaluator", evaluator="it", inputs={"text": "v1"}
    )


async def on_examples(
    engine: Engine, texts: list[str], split: str = "train"
) -> tuple[str, ForwardResult]:
    """A session whose program repeats its examples after a prompt, judged by the program."""
    s = (await engine.create_variable(ME, role="prompt", value="Say")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    rows = [{"q": text} for text in texts]
    await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    found = await engine.compute_loss(
        ME, session_id=s, kind="evaluator", evaluator="it", inputs={"text": "v3"}
    )
    assert isinstance(found, ForwardResult)
    return s, found


# a text that was optimised


@pytest.mark.requirement("failed-candidates")
@pytest.mark.parametrize(("text", "says"), FAILURES.items())
def test_a_candidate_on_which_the_program_fails_is_refused_with_the_reason(
    text: str, says: str, tmp_path: Path
) -> None:
    async def main(engine: Engine) -> None:
        s, _ = await a_text(engine, "plain")
        await engine.backward(ME, session_id=s)
        done = await engine.step(ME, session_id=s, accept="if_better", candidates=2)
        assert isinstance(done, StepResult)
        assert (done.status, done.accepted) == ("done", True)  # the other one was better
        refused = next(p for p in done.proposals if p.verdict == "refused")
        assert refused.score == 0
        whole = await engine.inspect(ME, session_id=s, id=refused.id)
        reason = whole.view["proposals"][0]["reason"]
        assert "1 of 1 count as 0. The evaluator it failed on this: " in reason
        assert says in reason

    run(main, tmp_path, writing(f"now {text}", "now better"))


@pytest.mark.requirement("failed-candidates")
def test_an_installed_text_on_which_the_program_fails_has_0_and_the_reason_is_its_feedback(
    tmp_path: Path,
) -> None:
    answerer = writing("now crash", "now better")

    async def main(engine: Engine) -> None:
        s, _ = await a_text(engine, "plain")
        await engine.backward(ME, session_id=s)
        await engine.step(ME, session_id=s)
        found = await engine.forward(ME, session_id=s)
        assert isinstance(found, ForwardResult)
        assert (found.status, found.mean_score) == ("done", 0.0)
        assert "IndexError: no atom 7" in found.values[0].text
        await engine.backward(ME, session_id=s)
        await engine.step(ME, session_id=s)
        assert any("IndexError: no atom 7" in r.messages[-1].content for r in answerer.asked)
        found = await engine.forward(ME, session_id=s)
        assert isinstance(found, ForwardResult)
        assert found.mean_score == 0.9

    run(main, tmp_path, answerer)


@pytest.mark.requirement("failed-candidates")
def test_an_optimisation_goes_on_over_candidates_on_which_the_program_fails(
    tmp_path: Path,
) -> None:
    async def main(engine: Engine) -> None:
        s, _ = await a_text(engine, "plain")
        done = await engine.optimize(
            ME, session_id=s, strategy="gradient", steps=4, candidates=1, goal=0.9
        )
        assert isinstance(done, OptimizeResult)
        assert (done.status, done.steps, done.score_after) == ("done", 3, 0.9)
        assert [p.score for p in done.proposals] == [0, 0, 0.9]
        assert "IndexError" in done.proposals[0].reason

    run(main, tmp_path, writing("now crash", "now nan", "now better"))


# some examples


def test_examples_on_which_the_program_fails_count_as_0_whichever_comes_first(
    tmp_path: Path,
) -> None:
    async def main(engine: Engine) -> None:
        _, found = await on_examples(engine, ["crash 1", "crash 2", "fine 1", "fine 2"])
        assert found.status == "done"
        assert [v.score for v in found.values] == [0, 0, 0.5, 0.5]
        assert "IndexError" in found.values[0].text
        assert sorted(runs(tmp_path)) == ["crash 1", "crash 2", "fine 1", "fine 2"]

    run(main, tmp_path, writing("-"))


@pytest.mark.requirement("asked-once")
def test_evaluate_names_the_examples_on_which_the_program_failed(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s, _ = await on_examples(engine, ["fine"])
        rows = [{"q": "crash"}, {"q": "good"}, {"q": "nan"}]
        await engine.add_examples(ME, session_id=s, split="validation", examples=rows)
        found = await engine.evaluate(ME, session_id=s)
        assert isinstance(found, EvaluateResult)
        assert found.notes == ["2 examples made the evaluator fail, which counts as 0: e2, e4."]
        assert (found.examples, found.mean_score) == (3, round(0.5 / 3, 4))
        assert "IndexError: no atom 7" in found.failures[0].feedback
        before = runs(tmp_path)
        assert (await engine.evaluate(ME, session_id=s)).notes == found.notes
        assert runs(tmp_path) == before

        await engine.add_examples(ME, session_id=s, split="test", examples=[{"q": "crash 9"}])
        held_out = await engine.evaluate(ME, session_id=s, split="test")
        assert held_out.notes == ["1 example made the evaluator fail, which counts as 0: e5."]
        assert "IndexError" not in held_out.model_dump_json()

    run(main, tmp_path, writing("-"))


def test_what_is_not_answered_yet_is_waited_for_before_anybody_is_blamed(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="prompt", value="Say"))["session_id"]
        await call("create_variable", session_id=s, role="q", example_field="q")
        rows = [{"q": "a"}, {"q": "b"}]
        await call("add_examples", session_id=s, split="validation", examples=rows)
        await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
        loss = {"kind": "evaluator", "evaluator": "it", "inputs": {"text": "v3"}}
        await call("compute_loss", session_id=s, **loss)
        pending = await call("evaluate", session_id=s)
        first, second = (p["id"] for p in pending["pending"])
        again = await call("resume", session_id=s, completions={first: "crash"})
        assert again["status"] == "needs_completions"
        assert [p["id"] for p in again["pending"]] == [second]
        done = await call("resume", session_id=s, completions={second: "plain"})
        assert (done["status"], done["mean_score"]) == ("done", 0.25)

    drive(main, assisted(tmp_path / "t.db", evaluators=evaluators(tmp_path)))


# the program


@pytest.mark.requirement("broken-evaluators")
def test_a_program_that_has_scored_nothing_and_fails_is_told_and_tried_again(
    tmp_path: Path,
) -> None:
    async def main(engine: Engine) -> None:
        tmp_path.joinpath("broken").touch()
        s, found = await a_text(engine, "plain")
        assert found.status == "failed"
        assert "no licence" in (found.error or "")
        assert "The operator can mend it" in found.next
        again = await engine.resume(ME, session_id=s)
        assert again.status == "failed"
        tmp_path.joinpath("broken").unlink()
        done = await engine.resume(ME, session_id=s)
        assert isinstance(done, ForwardResult)
        assert (done.status, done.mean_score) == ("done", 0.5)

    run(main, tmp_path)


@pytest.mark.requirement("broken-evaluators")
def test_a_program_that_fails_on_the_start_ends_the_optimisation_after_a_few_texts(
    tmp_path: Path,
) -> None:
    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="prompt", value="Say")).session_id or ""
        await engine.create_variable(ME, session_id=s, role="q", example_field="q")
        rows = [{"q": f"crash {n}"} for n in range(50)]
        await engine.add_examples(ME, session_id=s, split="validation", examples=rows)
        inputs = {"q": "v2"}
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs=inputs)
        loss = {"kind": "evaluator", "evaluator": "it", "inputs": {"text": "v3"}}
        await engine.compute_loss(ME, session_id=s, **loss)
        await engine.add_examples(ME, session_id=s, split="train", examples=[{"q": "crash"}])
        found = await engine.optimize(ME, session_id=s, strategy="gradient")
        assert found.status == "failed"
        assert f"It failed on {FEW} texts and has scored none" in (found.error or "")
        assert FEW <= len(runs(tmp_path)) < 2 * FEW  # of 50, with those under way

    run(main, tmp_path, writing("-"))


@pytest.mark.requirement("broken-evaluators")
def test_a_program_that_breaks_half_way_is_told_and_no_candidate_pays_for_it(
    tmp_path: Path,
) -> None:
    answerer = writing("now better")

    async def main(engine: Engine) -> None:
        s, _ = await a_text(engine, "plain")
        await engine.backward(ME, session_id=s)
        tmp_path.joinpath("broken").touch()
        found = await engine.step(ME, session_id=s, accept="if_better")
        assert found.status == "failed"
        assert "now fails on a text that it has scored before, too" in (found.error or "")
        assert "no licence" in (found.error or "")
        tmp_path.joinpath("broken").unlink()
        asked = len(answerer.asked)
        done = await engine.resume(ME, session_id=s)
        assert isinstance(done, StepResult)
        assert (done.status, done.accepted, done.score_after) == ("done", True, 0.9)
        assert len(answerer.asked) == asked

    run(main, tmp_path, answerer)


@pytest.mark.requirement("broken-evaluators")
def test_a_program_that_broke_while_no_server_ran_is_told_too(tmp_path: Path) -> None:
    async def main() -> None:
        more: dict[str, Any] = {"path": tmp_path / "t.db", "evaluators": evaluators(tmp_path)}
        async with an_engine(writing("now better"), **more) as engine:
            s, _ = await a_text(engine, 'plain </input> &amp; <input-abcdef name="text">\nx')
            await engine.backward(ME, session_id=s)
        tmp_path.joinpath("broken").touch()
        async with an_engine(writing("now better"), **more) as engine:
            found = await engine.step(ME, session_id=s, accept="if_better")
            assert found.status == "failed"
            assert "now fails on a text that it has scored before, too" in (found.error or "")
        again = [line for line in runs(tmp_path) if line.startswith("plain")]
        assert len(again) == 2
        assert len(set(again)) == 1  # the very text that it had scored

    asyncio.run(main())


@pytest.mark.requirement("broken-evaluators")
def test_a_program_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        settings = {"gone": {"command": ["bin/gone"], "folder": tmp_path}}
        async with an_engine(evaluators=settings) as engine:
            s = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
            loss = {"session_id": s, "kind": "evaluator", "inputs": {"text": "v1"}}
            found = await engine.compute_loss(ME, evaluator="gone", **loss)
            assert found.status == "failed"
            assert f"cannot be run: {tmp_path}/bin/gone is not there" in (found.error or "")

    asyncio.run(main())


# where one is chosen


def test_the_descriptions_are_shown_where_an_assistant_chooses(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        made = await call("create_variable", role="r", value="x")
        s = made["session_id"]
        shown: Facts = (await call("inspect", session_id=s))["view"]
        assert shown["evaluators"] == "dock (binding energy, scaled), plain"
        built = await call(
            "forward", session_id=s, operation="format", template="{x}", inputs={"x": "v1"}
        )
        assert "'evaluator'" in built["next"]
        assert "Evaluators: dock (binding energy, scaled), plain." in built["next"]
        for name in ({"evaluator": "dok"}, {}):
            words = await call.refused(
                "compute_loss", session_id=s, kind="evaluator", inputs={"x": "v1"}, **name
            )
            assert "Evaluators: dock (binding energy, scaled), plain." in words

    known = {
        "dock": {"command": ["x"], "description": "binding energy,\n scaled"},
        "plain": {"command": ["x"]},
    }
    drive(main, assisted(tmp_path / "t.db", evaluators=known))


def test_a_loss_whose_evaluator_is_registered_no_more_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def main() -> None:
        async with an_engine(path=path, evaluators=evaluators(tmp_path)) as engine:
            s, _ = await a_text(engine, "plain")
            await engine.backward(ME, session_id=s)
            await engine.step(ME, session_id=s)
        async with an_engine(path=path) as engine:
            found = await engine.forward(ME, session_id=s)
            assert "There is no evaluator 'it': none is registered." in (found.error or "")
            assert f"revert(session_id='{s}', remove=['v2'])" in found.next

    asyncio.run(main())
