"""Steps: what is proposed, what is refused and why, and what is remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Purpose
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.results import Result, StepResult

from ...helpers import ME, Scripted, an_engine, behind_its_back, plain_reply

Write = Callable[[CompletionRequest], str]


def writing(write: Write) -> Scripted:
    """An answerer whose updates are written by `write`."""

    def reply(request: CompletionRequest) -> str:
        if request.purpose is Purpose.UPDATE:
            return json.dumps({"value": write(request)})
        return plain_reply(request)

    return Scripted(reply)


async def one_text(engine: Engine, *constraints: str, value: str = "draft") -> str:
    """A session with the text v1 and a judge's gradient on it."""
    first = await engine.create_variable(ME, role="a text", value=value, constraints=constraints)
    s = first.session_id or ""
    await engine.compute_loss(
        ME, session_id=s, kind="judge", instruction="i", inputs={"text": "v1"}
    )
    await engine.backward(ME, session_id=s)
    return s


async def two_parameters(engine: Engine) -> str:
    """A session with the parameters v1 ('1') and v2 ('2'), and a judge's gradients on both."""
    s = (await engine.create_variable(ME, role="one", value="1")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="two", value="2")
    inputs = {"a": "v1", "b": "v2"}
    await engine.compute_loss(ME, session_id=s, kind="judge", instruction="i", inputs=inputs)
    await engine.backward(ME, session_id=s)
    return s


async def text_of(engine: Engine, s: str, variable: str = "v1") -> str:
    """A parameter's present text."""
    session = await engine.store.sessions.get(s, "local")
    return (await engine.store.graph.variables(session.pk, [variable]))[variable].value or ""


def stepped(result: Result) -> StepResult:
    """A step's result."""
    assert isinstance(result, StepResult), result
    assert result.status == "done", result.error
    return result


def test_a_proposal_that_breaks_a_constraint_is_sent_back_once_with_the_reason() -> None:
    async def main() -> None:
        def write(request: CompletionRequest) -> str:
            return "short" if "could not be used" in request.prompt else "far too long a text"

        critic = writing(write)
        async with an_engine(critic) as engine:
            s = await one_text(engine, "max_chars=10")
            step = stepped(await engine.step(ME, session_id=s))
            assert step.accepted
            assert await text_of(engine, s) == "short"
        updates = [r for r in critic.asked if r.purpose is Purpose.UPDATE]
        assert len(updates) == 2
        assert "10" in updates[1].prompt

    asyncio.run(main())


@pytest.mark.parametrize("text", ["far too long a text", "   "])
def test_a_proposal_that_stays_wrong_is_refused_with_the_reason_and_remembered(text: str) -> None:
    async def main() -> None:
        async with an_engine(writing(lambda _: text)) as engine:
            s = await one_text(engine, "max_chars=10")
            step = stepped(await engine.step(ME, session_id=s))
            assert not step.accepted
            assert step.proposals[0].verdict == "refused"
            assert step.proposals[0].reason
            assert await text_of(engine, s) == "draft"

    asyncio.run(main())


def test_an_unchanged_text_is_refused_and_not_asked_for_again() -> None:
    async def main() -> None:
        critic = writing(lambda _: "draft\n")
        async with an_engine(critic) as engine:
            s = await one_text(engine)
            step = stepped(await engine.step(ME, session_id=s))
            assert not step.accepted
            assert "as it was" in step.proposals[0].reason
        assert len([r for r in critic.asked if r.purpose is Purpose.UPDATE]) == 1

    asyncio.run(main())


def test_several_candidates_are_several_samples_of_one_prompt() -> None:
    async def main() -> None:
        critic = writing(lambda request: f"candidate {request.sample}")
        async with an_engine(critic) as engine:
            s = await one_text(engine)
            step = stepped(await engine.step(ME, session_id=s, candidates=3))
            assert [p.text for p in step.proposals] == [f"candidate {n}" for n in range(3)]
            assert [p.verdict for p in step.proposals] == ["accepted", "not taken", "not taken"]
        updates = [r for r in critic.asked if r.purpose is Purpose.UPDATE]
        assert len({r.messages for r in updates}) == 1
        assert len({r.key for r in updates}) == 3

    asyncio.run(main())


@pytest.mark.requirement("gate")
def test_if_better_installs_only_what_scores_higher_and_says_both_scores() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.purpose is Purpose.JUDGE:
            score = 0.9 if "good" in request.prompt else 0.2 if "bad" in request.prompt else 0.5
            return json.dumps({"feedback": f"scores {score}", "score": score})
        if request.purpose is Purpose.UPDATE:
            return json.dumps({"value": f"{next(texts)} text"})
        return plain_reply(request)

    texts = iter(["bad", "good"])

    async def main() -> None:
        async with an_engine(Scripted(reply)) as engine:
            s = await one_text(engine)
            worse = stepped(await engine.step(ME, session_id=s, accept="if_better"))
            assert not worse.accepted
            assert (worse.score_before, worse.proposals[0].score) == (0.5, 0.2)
            assert await text_of(engine, s) == "draft"
            await engine.backward(ME, session_id=s)
            better = stepped(await engine.step(ME, session_id=s, accept="if_better"))
            assert better.accepted
            assert (better.score_before, better.score_after) == (0.5, 0.9)
            assert await text_of(engine, s) == "good text"

    asyncio.run(main())


@pytest.mark.requirement("refusals-remembered")
def test_what_was_refused_is_shown_to_the_next_update_with_its_scores() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.purpose is Purpose.JUDGE:
            score = 0.2 if "worse idea" in request.prompt else 0.5
            return json.dumps({"feedback": "f", "score": score})
        if request.purpose is Purpose.UPDATE:
            return json.dumps({"value": "worse idea"})
        return plain_reply(request)

    async def main() -> None:
        critic = Scripted(reply)
        async with an_engine(critic) as engine:
            s = await one_text(engine)
            await engine.step(ME, session_id=s, accept="if_better")
            await engine.backward(ME, session_id=s)
            await engine.step(ME, session_id=s, accept="if_better")
        last = [r for r in critic.asked if r.purpose is Purpose.UPDATE][-1]
        assert "worse idea" in last.prompt
        assert "0.20" in last.prompt
        assert "0.50" in last.prompt

    asyncio.run(main())


def test_a_step_on_some_parameters_leaves_the_gradients_of_the_others() -> None:
    async def main() -> None:
        async with an_engine(writing(lambda r: f"new {r.key}")) as engine:
            s = await two_parameters(engine)
            first = stepped(await engine.step(ME, session_id=s, variables=["v1"]))
            assert first.variables == ["v1"]
            assert await text_of(engine, s, "v2") == "2"
            second = stepped(await engine.step(ME, session_id=s))
            assert second.variables == ["v2"]

    asyncio.run(main())


@pytest.mark.requirement("whole-steps")
def test_a_step_of_several_parameters_installs_all_or_none() -> None:
    async def main() -> None:
        def write(request: CompletionRequest) -> str:
            improved, _, _ = request.prompt.partition("Texts of other steps")
            return "new" if 'role="one"' in improved else " "

        async with an_engine(writing(write)) as engine:
            s = await two_parameters(engine)
            step = stepped(await engine.step(ME, session_id=s))
            assert not step.accepted
            assert [await text_of(engine, s, v) for v in ("v1", "v2")] == ["1", "2"]

    asyncio.run(main())


def test_the_whole_text_is_shown_to_whoever_rewrites_it() -> None:
    async def main() -> None:
        value = " ".join(f"word{n}" for n in range(2000))
        critic = writing(lambda _: "shorter")
        async with an_engine(critic) as engine:
            s = await one_text(engine, value=value)
            await engine.step(ME, session_id=s)
        update = next(r for r in critic.asked if r.purpose is Purpose.UPDATE)
        assert value in update.prompt

    asyncio.run(main())


@pytest.mark.parametrize("candidates", [0, 17])
def test_too_few_and_too_many_candidates_are_refused(candidates: int) -> None:
    async def main() -> None:
        async with an_engine() as engine:
            s = await one_text(engine)
            with pytest.raises(BadInput, match="between 1 and 16"):
                await engine.step(ME, session_id=s, candidates=candidates)
            with pytest.raises(BadInput, match="not a parameter"):
                await engine.step(ME, session_id=s, variables=["v2"])

    asyncio.run(main())


@pytest.mark.requirement("changed-underneath")
def test_a_text_changed_while_a_step_is_under_way_is_not_overwritten() -> None:
    class Editor(Scripted):
        """Changes the text by hand while it is asked for a better one."""

        engine: Engine
        session: int

        async def answer(
            self, request: CompletionRequest, record: RecordAttempt, go: Go
        ) -> Completion | None:
            if request.purpose is Purpose.UPDATE:
                await behind_its_back(self.engine.store, self.session, "v1", "mine")
            return await super().answer(request, record, go)

    async def main() -> None:
        editor = Editor()
        async with an_engine(editor) as engine:
            s = await one_text(engine)
            editor.engine = engine
            editor.session = (await engine.store.sessions.get(s, "local")).pk
            result = await engine.step(ME, session_id=s)
            assert result.status == "failed"
            assert "changed" in (result.error or "")
            assert await text_of(engine, s) == "mine"

    asyncio.run(main())


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("replied", ["better", "better\n", "\n\nbetter\r\n"])
def test_a_rewrite_ends_in_the_line_breaks_that_the_text_before_ended_in(
    end: str, replied: str
) -> None:
    async def main() -> None:
        async with an_engine(writing(lambda _: replied)) as engine:
            s = await one_text(engine, value=f"draft{end}")
            assert stepped(await engine.step(ME, session_id=s)).accepted
            assert await text_of(engine, s) == f"better{end}"

    asyncio.run(main())


@pytest.mark.requirement("beside")
def test_whoever_rewrites_is_told_what_the_reader_has_and_what_other_texts_do() -> None:
    async def main() -> None:
        critic = writing(lambda _: "better")
        async with an_engine(critic) as engine:
            s = (await engine.create_variable(ME, role="drafter", value="Draft.")).session_id or ""
            told: dict[str, Any] = {"session_id": s, "requires_grad": False}
            await engine.create_variable(ME, role="checker", value="Check.", session_id=s)
            await engine.create_variable(ME, role="policy", value="Free repairs.", **told)
            await engine.create_variable(ME, role="rubric", value="Be brief.", **told)
            await engine.forward(  # the policy comes to the model by way of a template
                ME, session_id=s, operation="format", template="By {p}", inputs={"p": "v3"}
            )
            call: dict[str, Any] = {"session_id": s, "operation": "llm"}
            await engine.forward(ME, system="v1", inputs={"x": "v5"}, **call)
            await engine.forward(ME, system="v2", inputs={"x": "v6"}, **call)
            inputs = {"answer": "v7", "policy": "v3", "rubric": "v4"}
            await engine.compute_loss(
                ME, session_id=s, kind="judge", instruction="Good?", inputs=inputs
            )
            await engine.backward(ME, session_id=s)
            await engine.step(ME, session_id=s, variables=["v1"])
        [update] = [r.prompt for r in critic.asked if r.purpose is Purpose.UPDATE]
        read, judged, others = (
            update.index(heading)
            for heading in ("What whoever reads", "What is given beside", "Texts of other steps")
        )
        assert read < update.index("Free repairs.") < judged < update.index("Be brief.") < others
        assert others < update.index("Check.")
        assert update.count("Free repairs.") == 1

    asyncio.run(main())
