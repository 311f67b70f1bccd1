"""An endpoint refuses what the program makes of one example: the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.results import (
    BackwardResult,
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    StepResult,
)

from ...helpers import ME, Tools, assisted, drive, endpoint
from ...standin import Body, Fault, StandIn, default_reply, text_of
from ..runs.test_ledger import with_endpoint

FILTERED = {"message": "The prompt was filtered.", "code": "content_filter"}
TOO_LONG = {"message": "maximum context length is 4096 tokens", "code": "context_length_exceeded"}
RIGHT = "Answer with 42 only."


def refusing(when: Callable[[str], bool], what: dict[str, str]) -> Callable[..., Fault | None]:
    """Refuses the forward prompts of which `when` holds."""

    def faults(_: int, body: Body) -> Fault | None:
        said = "\n".join(map(text_of, body["messages"]))
        forward = "response_format" not in body
        refused = forward and when(said)
        return Fault(status=400, raw=json.dumps({"error": what})) if refused else None

    return faults


def model(body: Body) -> str:
    """Wrong until its prompt is the right one, which it proposes itself."""
    form = body.get("response_format")
    if form is None:
        return "42" if body["messages"][0]["content"].startswith(RIGHT) else "41"
    keys = form["json_schema"]["schema"]["properties"]
    return json.dumps({"value": RIGHT}) if "value" in keys else default_reply(body)


async def program(engine: Engine, answer: str = "42") -> str:
    """Prompt v1, output v4, loss v5; e1 to e4 to train on, e5 to e8 to validate."""
    s = str((await engine.create_variable(ME, role="system prompt", value="Answer.")).session_id)
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    for split in ("train", "validation"):
        rows = [{"q": f"{split} {n}?", "a": answer} for n in range(4)]
        await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    return s


@pytest.mark.requirement("refused-examples")
@pytest.mark.parametrize("what", [FILTERED, TOO_LONG])
def test_an_evaluation_names_the_example_that_was_refused_and_counts_it_as_0(
    tmp_path: Path, what: dict[str, str]
) -> None:
    async def main(engine: Engine) -> None:
        s = await program(engine, answer="41")
        found = await engine.evaluate(ME, session_id=s)
        assert isinstance(found, EvaluateResult)
        assert (found.status, found.examples, found.mean_score) == ("done", 4, 0.75)
        [note] = found.notes
        assert note.startswith("1 example gave no usable reply, which counts as 0: e7.")
        assert what["message"] in note
        before = len(server.log)
        assert (await engine.evaluate(ME, session_id=s)).status == "done"
        assert len(server.log) == before + 1  # that one alone is asked afresh

    faults = refusing(lambda said: "validation 2?" in said, what)
    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("refused-examples")
def test_an_optimisation_goes_on_without_it_and_names_it(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await program(engine)
        found = await engine.optimize(ME, session_id=s, strategy="gradient", steps=2)
        assert isinstance(found, OptimizeResult)
        assert (found.score_before, found.score_after, found.accepted) == (0.0, 0.75, 1)
        assert "e7" in found.notes[0]

    faults = refusing(lambda said: "2?" in said, FILTERED)
    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("refused-examples")
@pytest.mark.parametrize("spoilt", ["2?", "validation"])
def test_a_candidate_that_makes_a_prompt_too_long_loses_there(tmp_path: Path, spoilt: str) -> None:
    async def main(engine: Engine) -> None:
        s = await program(engine)
        found = await engine.optimize(ME, session_id=s, strategy="gradient", steps=1, candidates=1)
        assert isinstance(found, OptimizeResult)
        assert found.status == "done"
        [proposal] = found.proposals
        assert proposal.score == (0.75 if spoilt == "2?" else 0.0)
        assert (proposal.verdict == "accepted") == (spoilt == "2?")
        named = [note for note in found.notes if "counts as 0: e7." in note]
        assert bool(named) == (spoilt == "2?")

    faults = refusing(lambda said: RIGHT in said and spoilt in said, TOO_LONG)
    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("refused-examples")
def test_values_are_computed_for_the_others_and_learnt_from(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await program(engine)
        again = await engine.forward(ME, session_id=s, examples="train")
        assert isinstance(again, ForwardResult)
        assert again.examples == ["e1", "e2", "e4"]
        assert "e3: " in again.notes[0]
        assert FILTERED["message"] in again.notes[0]
        back = await engine.backward(ME, session_id=s)
        assert isinstance(back, BackwardResult)
        assert back.examples == ["e1", "e2", "e4"]
        step = await engine.step(ME, session_id=s, accept="if_better")
        assert isinstance(step, StepResult)
        assert step.accepted

    faults = refusing(lambda said: "train 2?" in said, FILTERED)
    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("refused-examples")
@pytest.mark.parametrize("tool", ["evaluate", "optimize"])
def test_what_is_refused_for_every_example_is_told_as_an_error(tmp_path: Path, tool: str) -> None:
    async def main(engine: Engine) -> None:
        s = await program(engine)
        found = await getattr(engine, tool)(ME, session_id=s)
        assert found.status == "failed"
        assert "Every example was refused." in found.error
        assert TOO_LONG["message"] in found.error
        broken[0] = False
        assert (await engine.resume(ME, session_id=s)).status == "done"

    broken = [True]
    faults = refusing(lambda said: broken[0] and "validation" in said, TOO_LONG)
    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("refused-examples")
def test_the_prompts_of_the_loop_itself_stop_only_their_own_step(tmp_path: Path) -> None:
    def faults(_: int, body: Body) -> Fault | None:
        form = body.get("response_format")
        refused = form and "value" in form["json_schema"]["schema"]["properties"]
        return Fault(status=400, raw=json.dumps({"error": FILTERED})) if refused else None

    async def main(engine: Engine) -> None:
        s = await program(engine)
        found = await engine.optimize(ME, session_id=s, strategy="gradient", steps=1, candidates=1)
        assert isinstance(found, OptimizeResult)
        assert found.status == "done"
        [proposal] = found.proposals
        assert FILTERED["message"] in proposal.reason

    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("refused-examples")
def test_a_refused_call_is_closed_kept_and_handed_to_nobody(tmp_path: Path) -> None:
    faults = refusing(lambda said: "two" in said, FILTERED)

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="p", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="q", example_field="q")
        rows = [{"q": "one"}, {"q": "two"}]
        await call("add_examples", session_id=s, split="train", examples=rows)
        await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
        judged: dict[str, Any] = {"kind": "judge", "instruction": "Good?", "inputs": {"x": "v3"}}
        waiting = await call("compute_loss", session_id=s, **judged)
        assert [p["purpose"] for p in waiting["pending"]] == ["judge: v4 (judge) for e1"]
        view = (await call("inspect", session_id=s, what="call", id="c2"))["view"]
        assert (view["status"], view["attempts"][0]["outcome"]) == ("unusable", "http_400")
        assert FILTERED["message"] in view["refusal"]

    with StandIn(faults=faults) as server:
        chosen = assisted(tmp_path / "t.db").model_copy(update={"forward": endpoint(server)})
        drive(main, chosen)


@pytest.mark.requirement("refused-examples")
def test_a_reply_that_a_filter_withholds_stops_no_other_example_either(tmp_path: Path) -> None:
    def faults(_: int, body: Body) -> Fault | None:
        said = "\n".join(map(text_of, body["messages"]))
        return Fault(text="half of", finish="content_filter") if "validation 2?" in said else None

    async def main(engine: Engine) -> None:
        s = await program(engine, answer="41")
        found = await engine.evaluate(ME, session_id=s)
        assert isinstance(found, EvaluateResult)
        assert (found.examples, found.mean_score) == (4, 0.75)
        assert "withheld" in found.notes[0]
        assert (
            await engine.optimize(ME, session_id=s, strategy="gradient", steps=1)
        ).status == "done"

    with StandIn(reply=model, faults=faults) as server:
        with_endpoint(server, main, tmp_path / "t.db")
