"""Corners: what would keep a session from ever going on is refused, or there is a way out of it."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.errors import BadInput, TextGradError
from textgrad_mcp.schemas.results import ForwardResult

from ...helpers import ME, Facts, Scripted, Tools, an_engine, assisted, drive, endpoint, plain_reply
from ...small_program import run
from ...standin import StandIn, fault

Losses = dict[str, Any]


async def two_losses(engine: Engine, *scores: float | None) -> str:
    """A session with a text and losses v2, v3, ... of these scores."""
    s = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
    for score in scores:
        await engine.compute_loss(
            ME, session_id=s, kind="feedback", inputs={"x": "v1"}, feedback="f", score=score
        )
    return s


async def summed(engine: Engine, s: str, weights: dict[str, float] | None) -> ForwardResult:
    """The sum of v2 as `a` and v3 as `b`."""
    inputs = {"a": "v2", "b": "v3"}
    found = await engine.compute_loss(ME, session_id=s, kind="sum", inputs=inputs, weights=weights)
    assert isinstance(found, ForwardResult)
    return found


async def refused_forward(engine: Engine, s: str) -> str:
    """What is said where nothing can be computed, as an error or as a run that failed."""
    try:
        found = await engine.forward(ME, session_id=s)
    except TextGradError as error:
        return error.message
    assert found.status == "failed"
    return found.error or ""


# weights


@pytest.mark.requirement("ways-out")
@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"a": 0, "b": 0}, "add up to 0"),
        ({"a": 1, "b": -1}, "The weight of 'b' is -1.0; it must be 0 or more"),
        ({"a": 3, "b": -2}, "The weight of 'b' is -2"),
        ({"a": math.nan}, "weights.a: input should be a finite number"),
        ({"a": math.inf}, "weights.a: input should be a finite number"),
        ({"a": 1e308, "b": 1e308}, "add up to inf"),
        ({"zz": 1}, "weights name 'zz', which is no input of the sum"),
        ({"a": 1, "v2": 1}, "weights name 'v2'"),
    ],
)
def test_weights_that_give_no_mean_are_refused_when_they_are_given(
    weights: dict[str, float], says: str
) -> None:
    async def main(engine: Engine) -> None:
        s = await two_losses(engine, 0.9, 0.2)
        with pytest.raises(BadInput) as refused:
            await summed(engine, s, weights)
        assert says in refused.value.message
        assert "v4" not in await engine.store.graph.variables(
            (await engine.store.sessions.get(s, "local")).pk
        )
        assert (await engine.forward(ME, session_id=s)).status == "done"

    run(main)


WEIGHT = st.floats(0, 1e6) | st.just(0.0)


@settings(max_examples=25, deadline=None)
@given(WEIGHT, WEIGHT, st.floats(0, 1), st.floats(0, 1))
@example(5e-324, 0.0, 0.75, 0.0)
def test_any_weights_that_are_taken_give_a_score_between_those_of_the_losses(
    a: float, b: float, first: float, second: float
) -> None:
    async def main(engine: Engine) -> None:
        s = await two_losses(engine, first, second)
        try:
            found = await summed(engine, s, {"a": a, "b": b})
        except BadInput:
            assert a + b == 0
            return
        score = found.values[0].score
        assert score is not None
        assert min(first, second) - 1e-9 <= score <= max(first, second) + 1e-9

    run(main)


def test_a_sum_whose_weight_lies_on_what_has_no_score_has_none() -> None:
    async def main(engine: Engine) -> None:
        s = await two_losses(engine, 0.9, None)
        found = await summed(engine, s, {"a": 0, "b": 1})
        assert (found.status, found.values[0].score) == ("done", None)
        assert found.values[0].text == "a: f\n\nb: f"

    run(main)


def test_weights_beside_another_kind_of_loss_are_refused() -> None:
    async def main(engine: Engine) -> None:
        s = await two_losses(engine)
        with pytest.raises(BadInput, match="weights go with kind='sum'"):
            await engine.compute_loss(
                ME,
                session_id=s,
                kind="judge",
                inputs={"x": "v1"},
                instruction="Good?",
                weights={"x": 1},
            )

    run(main)


# what was taken, fails whenever it is computed, and can be taken out


def never_json(request: CompletionRequest) -> str:
    """A judge that never replies in the form that is asked for."""
    return "no JSON" if request.purpose is Purpose.JUDGE else plain_reply(request)


ROW = {"q": "six", "a": "no number"}
CORNERS: dict[str, tuple[Losses, str]] = {
    "a judge whose reply can never be read": (
        {"kind": "judge", "instruction": "Good?", "inputs": {"x": "v3"}},
        "could not be used, and neither could its repair",
    ),
    "a right answer that cannot be read": (
        {"kind": "metric", "metric": "numeric", "inputs": {"output": "v3", "answer": "v2"}},
        "holds no number",
    ),
    "a right answer in another form": (
        {"kind": "metric", "metric": "json_match", "inputs": {"output": "v3", "answer": "v2"}},
        "is not JSON",
    ),
    "a field that no example has": (
        {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v3", "answer": "v4"}},
        "has no field 'nowhere'",
    ),
    "a schema that leads nowhere": (
        {
            "kind": "metric",
            "metric": "json_schema",
            "inputs": {"output": "v5"},
            "options": {"schema": {"$ref": "#/definitions/none"}},
        },
        "cannot be followed",
    ),
}


@pytest.mark.requirement("ways-out")
@pytest.mark.parametrize(("loss", "says"), CORNERS.values(), ids=CORNERS)
def test_a_loss_that_fails_for_ever_says_which_it_is_and_can_be_taken_out(
    loss: Losses, says: str
) -> None:
    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="q", example_field="q")).session_id or ""
        await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
        await engine.create_variable(ME, session_id=s, role="prompt", value="x")
        await engine.create_variable(
            ME, session_id=s, role="b", example_field="nowhere", reference=True
        )
        await engine.create_variable(ME, session_id=s, role="j", value="{}")
        await engine.add_examples(ME, session_id=s, split="train", examples=[ROW])
        found = await engine.compute_loss(ME, session_id=s, **loss)
        assert isinstance(found, ForwardResult)
        assert found.status == "failed"
        assert says in (found.error or "")
        assert f"revert(session_id='{s}', remove=['{found.loss}'])" in found.next
        assert says in await refused_forward(engine, s)
        await engine.remove(ME, session_id=s, ids=[found.loss or ""], confirm=True)
        assert (await engine.forward(ME, session_id=s)).status == "done"
        better = await engine.compute_loss(
            ME,
            session_id=s,
            kind="metric",
            metric="contains",
            inputs={"output": "v3", "answer": "v2"},
        )
        assert better.status == "done"
        assert (await engine.backward(ME, session_id=s)).status == "done"

    run(main, answerer=Scripted(never_json))


def test_a_right_answer_that_cannot_be_read_is_named_with_its_example_and_can_be_mended() -> None:
    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="prompt", value="It is 6.")).session_id or ""
        await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
        rows = [{"a": "6"}, {"a": "unknown"}]
        await engine.add_examples(ME, session_id=s, split="train", examples=rows)
        inputs = {"output": "v1", "answer": "v2"}
        found = await engine.compute_loss(
            ME, session_id=s, kind="metric", metric="numeric", inputs=inputs
        )
        assert isinstance(found, ForwardResult)
        assert [n for n in found.notes if "e2: The right answer 'unknown' holds no number." in n]
        assert [v.example for v in found.values] == ["e1"]
        await engine.mend(ME, session_id=s, split="train", changes={"e2": {"a": "6.0"}})
        done = await engine.forward(ME, session_id=s)
        assert isinstance(done, ForwardResult)
        assert (done.status, done.mean_score) == ("done", 1.0)

    run(main)


@pytest.mark.requirement("ways-out")
@pytest.mark.parametrize("weights", [{"a": 0, "b": 0}, {"a": 3, "b": -2}, {"zz": 1}])
def test_a_sum_from_before_weights_were_checked_can_be_taken_out(
    weights: dict[str, float],
) -> None:
    def poison(db: Any) -> None:
        spec = {"weights": weights}
        db.execute("UPDATE operations SET spec = ? WHERE kind = 'sum'", (json.dumps(spec),))
        db.execute("UPDATE variables SET dirty = TRUE WHERE n = 4")
        db.execute("DELETE FROM cells WHERE variable = 4")

    async def main(engine: Engine) -> None:
        s = await two_losses(engine, 0.9, 0.2)
        await summed(engine, s, None)
        await engine.store.db.write(poison)
        with pytest.raises(BadInput, match="v4: ") as refused:
            await engine.forward(ME, session_id=s)
        assert f"revert(session_id='{s}', remove=['v4'])" in refused.value.next
        await engine.remove(ME, session_id=s, ids=["v4"], confirm=True)
        assert (await engine.forward(ME, session_id=s)).status == "done"
        assert (await summed(engine, s, {"a": 3})).mean_score == pytest.approx(0.725)

    run(main)


@pytest.mark.requirement("ways-out")
def test_a_picture_that_the_endpoint_refuses_can_be_taken_out(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        made = await call("create_variable", role="prompt", value="Say what you see.")
        s = made["session_id"]
        picture = "data:image/png;base64,AAAA"
        await call(
            "create_variable", session_id=s, role="picture", value=picture, requires_grad=False
        )
        inputs = {"prompt": "v1", "picture": "v2"}
        template = "{prompt} {picture}"
        arguments: Facts = {"operation": "llm", "inputs": inputs, "template": template}
        words = await call.refused("forward", session_id=s, **arguments)
        assert "answered 400" in words
        await call("revert", session_id=s, remove=["v2"], confirm=True)
        assert (await call("forward", session_id=s))["status"] == "done"
        again = await call("forward", session_id=s, operation="llm", inputs={"prompt": "v1"})
        assert again["status"] == "done"

    with StandIn(faults={1: fault("400")}) as server:
        role = endpoint(server)
        drive(main, assisted(tmp_path / "t.db").model_copy(update={"forward": role}))


@pytest.mark.requirement("ways-out")
@pytest.mark.parametrize("elsewhere", ["deleted", "no workspace"])
def test_a_bound_file_that_cannot_be_had_any_more_leaves_a_way_out(
    elsewhere: str, tmp_path: Path
) -> None:
    place = tmp_path / "work"
    place.mkdir()
    place.joinpath("prompt.md").write_text("Be brief.")

    async def stuck(engine: Engine, s: str) -> str:
        with pytest.raises(TextGradError) as refused:
            await engine.forward(ME, session_id=s)
        return str(refused.value)

    async def main() -> None:
        path = tmp_path / "t.db"
        async with an_engine(path=path, workspace=place) as engine:
            bound = await engine.create_variable(ME, role="prompt", file="prompt.md")
            s = bound.session_id or ""
            await engine.create_variable(ME, session_id=s, role="other", value="y")
            await engine.forward(
                ME, session_id=s, operation="format", template="{x}", inputs={"x": "v2"}
            )
        if elsewhere == "deleted":
            place.joinpath("prompt.md").unlink()
        kept = place if elsewhere == "deleted" else None
        async with an_engine(path=path, workspace=kept) as engine:
            words = await stuck(engine, s)
            assert "v1 (prompt) is bound to a file" in words
            assert f"revert(session_id='{s}', remove=['v1'])" in words
            shown = (await engine.inspect(ME, session_id=s, id="v1")).view
            assert shown["text"] == "Be brief."  # to put it back
            await engine.remove(ME, session_id=s, ids=["v1"], confirm=True)
            assert (await engine.forward(ME, session_id=s)).status == "done"

    asyncio.run(main())


def test_prompts_that_nobody_can_answer_are_dropped_and_their_operation_taken_out() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        found = await call(
            "forward",
            session_id=s,
            operation="external",
            function="ask the sea",
            inputs={"x": "v1"},
        )
        assert found["status"] == "needs_completions"
        await call("resume", session_id=s, cancel=True)
        await call("revert", session_id=s, remove=[found["operation"]], confirm=True)
        done = await call("forward", session_id=s)
        assert (done["status"], done["next"].split(":")[0]) == ("done", "Nothing was stale")

    drive(main, assisted())


# constraints


@pytest.mark.requirement("ways-out")
@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        (["max_chars=5", "contains=longer text"], "max_chars=5 leaves no room for longer text"),
        (["keep=two words here", "max_words=2"], "max_words=2 leaves no room for two words here"),
        (["max_tokens=1", "contains=longer text"], "max_tokens=1 leaves no room"),
        (["max_change=0.1"], "max_change=0.1 lets no word of a text of 3 words change"),
        (["keep=not in it"], "keep=not in it is not in the variable's text"),
    ],
)
def test_constraints_that_no_rewrite_could_keep_are_refused(
    constraints: list[str], says: str
) -> None:
    async def main(engine: Engine) -> None:
        with pytest.raises(BadInput) as refused:
            await engine.create_variable(
                ME, role="r", value="two words here", constraints=constraints
            )
        assert says in refused.value.message

    run(main)


def test_constraints_that_leave_room_are_taken() -> None:
    async def main(engine: Engine) -> None:
        rules = ["max_chars=14", "keep=two words here", "max_words=3", "max_change=0.25"]
        for constraints in ([r] for r in rules):
            made = await engine.create_variable(
                ME, role="r", value="two words here", constraints=constraints
            )
            assert made.variable == "v1"

    run(main)
