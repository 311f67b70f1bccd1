"""The ledger over a real endpoint on loopback: what is asked, how often, and what is kept."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.completions import CompletionRequest, Message, Purpose
from textgrad_mcp.schemas.results import EvaluateResult, ForwardResult
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.host import answerers

from ...helpers import (
    ME,
    Facts,
    Scripted,
    Tools,
    an_engine,
    assisted,
    drive,
    endpoint,
    made,
    plain_reply,
)
from ...standin import Body, Fault, StandIn, fault

pytestmark = pytest.mark.each_store

Main = Callable[[Engine], Awaitable[None]]


def with_endpoint(
    server: StandIn, main: Main, path: Path, role: Facts | None = None, **settings: Any
) -> None:
    """Run `main` with an engine that the stand-in serves through the real client."""

    async def run() -> None:
        served = endpoint(server, **(role or {}))
        chosen = Settings(database=path, forward=served, backward=served, **settings)
        store = Store(path)
        await store.open()
        engine = Engine(chosen, store, answerers(chosen))
        try:
            await main(engine)
        finally:
            await engine.close()

    asyncio.run(run())


async def session(engine: Engine, questions: Sequence[str] = ("one", "two", "three")) -> str:
    """A session with the prompt v1 on some questions, its answers v3 not computed."""
    s = (await engine.create_variable(ME, role="p", value="P")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    rows = [{"q": q, "row": str(n)} for n, q in enumerate(questions)]
    await engine.add_examples(ME, session_id=s, split="train", examples=rows)
    return s


async def values(engine: Engine, s: str, variable: str = "v3") -> dict[str, str]:
    """The computed values of a variable, by example."""
    found = await engine.store.sessions.get(s, "local")
    places = await engine.store.examples.split(found.pk, "train")
    cells = await engine.store.values.get(found.pk, [variable], [0, *places])
    return {f"e{place}": value.text for (_, place), value in cells.items()}


def prompts(server: StandIn) -> list[str]:
    """The last message of every request."""
    return [str(seen.body["messages"][-1]["content"]) for seen in server.log]


@pytest.mark.requirement("asked-once")
def test_requests_that_are_the_same_are_asked_once_even_at_the_same_time(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, ["same", "same", "same", "other"])
        done = await engine.forward(ME, session_id=s)
        assert done.status == "done"
        assert len(await values(engine, s)) == 4

    with StandIn() as server:
        with_endpoint(server, main, tmp_path / "t.db")
        assert sorted(prompts(server)) == ["other", "same"]


@pytest.mark.requirement("asked-once")
def test_what_was_answered_is_never_asked_again_not_even_by_another_operation(
    tmp_path: Path,
) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine)
        await engine.forward(ME, session_id=s)
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"x": "v2"})
        assert await values(engine, s, "v3") == await values(engine, s, "v4")

    with StandIn() as server:
        with_endpoint(server, main, tmp_path / "t.db")
        assert len(server.log) == 3


@pytest.mark.requirement("owners")
def test_two_sessions_do_not_share_answers(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        for _ in range(2):
            await engine.forward(ME, session_id=await session(engine, ["one"]))

    with StandIn() as server:
        with_endpoint(server, main, tmp_path / "t.db")
        assert len(server.log) == 2


@pytest.mark.requirement("at-once")
def test_everything_that_is_ready_is_asked_at_once(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, [f"q{n}" for n in range(8)])
        task = asyncio.create_task(engine.forward(ME, session_id=s))
        await asyncio.to_thread(server.wait_for, lambda it: it.in_flight == 8)
        server.resume()
        assert (await task).status == "done"

    with StandIn(paused=True) as server:
        with_endpoint(server, main, tmp_path / "t.db")


BAD: Mapping[str, Fault] = {
    "empty": fault("empty"),
    "blank": Fault(text=" \n"),
    "cut off": fault("length"),
    "filtered": fault("content_filter"),
    "refused": fault("refusal"),
}


@pytest.mark.requirement("no-bad-values")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_unusable_reply_is_repaired_by_exactly_one_more_call(tmp_path: Path, bad: Fault) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, ["one"])
        assert (await engine.forward(ME, session_id=s)).status == "done"
        assert await values(engine, s) == {"e1": "mended"}

    with StandIn(rules=[("could not be used", "mended")], faults={1: bad}) as server:
        with_endpoint(server, main, tmp_path / "t.db")
        assert len(server.log) == 2
        assert "could not be used" in prompts(server)[1]


@pytest.mark.requirement("partial-failure", "no-bad-values")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_reply_that_stays_unusable_never_becomes_a_value_and_is_asked_afresh_on_resume(
    tmp_path: Path, bad: Fault
) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, ["one", "two"])
        failed = await engine.forward(ME, session_id=s)
        assert failed.status == "failed"
        assert "could not be used" in (failed.error or "")
        assert list(await values(engine, s)) == ["e2"]
        asked = len(server.log)
        assert asked == 3
        broken[0] = False
        done = await engine.resume(ME, session_id=s)
        assert done.status == "done"
        assert prompts(server)[asked:] == ["one"]
        assert sorted(await values(engine, s)) == ["e1", "e2"]

    broken = [True]

    def spoil(_: int, body: Body) -> Fault | None:
        return bad if broken[0] and body["messages"][1]["content"] == "one" else None

    with StandIn(faults=spoil) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("asked-once", "no-bad-values")
def test_where_the_program_is_measured_a_cut_off_reply_counts_as_0_and_is_paid_for_once(
    tmp_path: Path,
) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, ["one", "two"])
        metric: Facts = {
            "kind": "metric",
            "metric": "contains",
            "inputs": {"output": "v3", "a": "v2"},
        }
        await engine.compute_loss(ME, session_id=s, **metric)
        asked = len(server.log)
        rows = [{"q": "long", "row": "9"}, {"q": "short", "row": "10"}]
        await engine.add_examples(ME, session_id=s, split="validation", examples=rows)
        for _ in range(2):
            found = await engine.evaluate(ME, session_id=s)
            assert isinstance(found, EvaluateResult)
            assert found.mean_score == 0.5
            assert "1 example gave no usable reply" in found.notes[0]
            assert sorted(prompts(server)[asked:]) == ["long", "short"]

    def spoil(_: int, body: Body) -> Fault | None:
        return fault("length") if body["messages"][-1]["content"] == "long" else None

    with StandIn(rules=[("short", "short")], faults=spoil) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("asked-once")
def test_what_an_earlier_run_left_unusable_is_asked_afresh_when_a_later_run_is_resumed(
    tmp_path: Path,
) -> None:
    broken = [True]

    def spoil(_: int, body: Body) -> Fault | None:
        wrong = broken[0] and body["messages"][1]["content"] == "one"
        return fault("empty") if wrong else None

    async def main(engine: Engine) -> None:
        s = await session(engine, ["one"])
        first = await engine.forward(ME, session_id=s)
        assert first.status == "failed"
        await engine.add_examples(ME, session_id=s, split="train", examples=[{"q": "two"}])
        again = await engine.forward(ME, session_id=s)
        assert again.status == "failed"
        assert again.run != first.run
        broken[0] = False
        assert (await engine.resume(ME, session_id=s)).status == "done"

    with StandIn(faults=spoil) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("no-bad-values")
@pytest.mark.parametrize(
    "wrong",
    [
        "no JSON at all",
        '{"feedback": "f"}',
        '{"feedback": "f", "score": 7}',
        '{"feedback": "f", "score": "high"}',
        '{"score": 0.5}',
        '{"feedback": "f", "score": "half", "more": 1}',
        '{"feedback": "f", "score": NaN}',
        '{"feedback": "f", "score": 0.5',
        "[]",
        "null",
    ],
)
def test_a_judgement_in_another_form_is_asked_for_again_and_never_guessed(
    tmp_path: Path, wrong: str
) -> None:
    async def main(engine: Engine) -> None:
        s = (await engine.create_variable(ME, role="t", value="T")).session_id or ""
        judged: Facts = {
            "session_id": s,
            "kind": "judge",
            "instruction": "i",
            "inputs": {"x": "v1"},
        }
        loss = await engine.compute_loss(ME, **judged)
        assert isinstance(loss, ForwardResult)
        assert loss.mean_score == 0.5
        assert loss.values[0].text == "good"

    right = json.dumps({"feedback": "good", "score": 0.5})
    with StandIn(reply=lambda _: right, faults={1: Fault(text=wrong)}) as server:
        with_endpoint(server, main, tmp_path / "t.db")
        assert len(server.log) == 2


@pytest.mark.requirement("no-bad-values")
def test_an_example_without_a_usable_reply_counts_as_zero_in_an_evaluation(
    tmp_path: Path,
) -> None:
    def spoil(_: int, body: Body) -> Fault | None:
        return fault("refusal") if body["messages"][1]["content"] == "one" else None

    async def main(engine: Engine) -> None:
        s = await session(engine, ["one", "two"])
        metric: Facts = {
            "kind": "metric",
            "metric": "contains",
            "inputs": {"output": "v3", "answer": "v4"},
        }
        await engine.create_variable(ME, session_id=s, role="a", value="yes", reference=True)
        await engine.compute_loss(ME, session_id=s, **metric)
        await engine.resume(ME, session_id=s, cancel=True)
        found = await engine.evaluate(ME, session_id=s, split="train")
        assert isinstance(found, EvaluateResult)
        assert found.mean_score == 0.5
        assert "no usable reply" in found.notes[0]

    with StandIn(reply=lambda _: "yes", faults=spoil) as server:
        with_endpoint(server, main, tmp_path / "t.db")


@pytest.mark.requirement("fatal-stops", "partial-failure")
def test_a_refused_key_stops_new_calls_but_keeps_the_other_replies(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, [f"q{n}" for n in range(12)])
        failed = await engine.forward(ME, session_id=s)
        assert failed.status == "failed"
        found = await engine.store.sessions.get(s, "local")
        assert found.used_calls == sum(1 for n in range(1, len(server.log) + 1) if n != 2)
        assert len(server.log) <= 5  # those that were in flight beside the one refused
        refuse[0] = False
        before = Counter(prompts(server))
        assert (await engine.resume(ME, session_id=s)).status == "done"
        assert len(server.log) == 12 + 1
        assert sum(before.values()) + 12 - found.used_calls == len(server.log)

    refuse = [True]

    def spoil(index: int, _: Body) -> Fault | None:
        if not refuse[0]:
            return None
        return fault("401") if index == 2 else Fault(delay=0.3)

    with StandIn(faults=spoil) as server:
        with_endpoint(server, main, tmp_path / "t.db", role={"concurrency": 4}, minibatch=16)


@pytest.mark.requirement("retries")
def test_usage_and_attempts_are_kept_for_every_call(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, ["one"])
        await engine.forward(ME, session_id=s)
        view = (await engine.inspect(ME, session_id=s, id="c1")).view
        assert view["prompt_tokens"] > 0
        assert [a["outcome"] for a in view["attempts"]] == ["ok"]
        totals = (await engine.inspect(ME, session_id=s)).view
        assert totals["usage"]["forward"]["calls"] == 1
        assert totals["total"]["calls"] == 1
        assert totals["total"]["tokens"] == view["prompt_tokens"] + view["completion_tokens"]

    with StandIn() as server:
        with_endpoint(server, main, tmp_path / "t.db")


def asking(**changes: Any) -> CompletionRequest:
    """A request."""
    fields: dict[str, Any] = {
        "purpose": Purpose.FORWARD,
        "messages": (Message(role="user", content="hi"),),
    }
    return CompletionRequest(**fields | changes)


@pytest.mark.requirement("asked-once")
def test_everything_that_can_change_an_answer_is_part_of_the_key_and_nothing_else() -> None:
    different = [
        asking(),
        asking(purpose=Purpose.JUDGE),
        asking(messages=(Message(role="user", content="ho"),)),
        asking(messages=(Message(role="system", content="hi"),)),
        asking(messages=(Message(role="user", content="hi", images=("data:image/png,",)),)),
        asking(model="m"),
        asking(params={"temperature": 0.5}),
        asking(params={"temperature": 0.5, "seed": 1}),
        asking(reply={"type": "object"}),
        asking(sample=1),
    ]
    assert len({request.key for request in different}) == len(different)
    assert asking(about="for people").key == asking().key
    assert asking(params={"a": 1, "b": 2}).key == asking(params={"b": 2, "a": 1}).key


@pytest.mark.requirement("asked-once")
def test_a_changed_copy_has_a_key_of_its_own() -> None:
    request = asking()
    assert request.key != request.model_copy(update={"sample": 1}).key
    assert request.key == request.model_copy(update={"about": "x"}).key


@pytest.mark.requirement("no-bad-values")
def test_an_evaluator_or_judge_outside_zero_to_one_never_becomes_a_score() -> None:
    async def main() -> None:
        def reply(request: CompletionRequest) -> str:
            if request.purpose is Purpose.JUDGE:
                return '{"feedback": "f", "score": 1.5}'
            return plain_reply(request)

        async with an_engine(Scripted(reply)) as engine:
            v = await engine.create_variable(ME, role="t", value="T")
            loss = await engine.compute_loss(
                ME,
                session_id=v.session_id or "",
                kind="judge",
                instruction="i",
                inputs={"x": made(v)},
            )
            assert loss.status == "failed"
            assert "between 0 and 1" in (loss.error or "")

    asyncio.run(main())


@pytest.mark.requirement("reasoning-apart")
def test_thoughts_are_kept_apart_in_the_ledger_and_out_of_the_value(tmp_path: Path) -> None:
    texts = {1: "<think>hm, 17?</think>\n\n42"}
    with StandIn(faults=lambda n, _: Fault(text=texts.get(n, "41"))) as server:

        async def both(engine: Engine) -> None:
            s = await session(engine, ["one", "two"])
            await engine.forward(ME, session_id=s)
            first, second = [
                (await engine.inspect(ME, session_id=s, id=f"c{n}")).view for n in (1, 2)
            ]
            assert sorted((await values(engine, s)).values()) == ["41", "42"]
            kept = [view.get("reasoning") for view in (first, second)]
            assert sorted(kept, key=str) == [None, "hm, 17?"]

        with_endpoint(server, both, tmp_path / "t.db", role={"concurrency": 1})


@pytest.mark.requirement("reasoning-apart")
def test_thoughts_that_an_assistant_hands_over_are_no_part_of_the_value() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="slogan", value="Buy"))["session_id"]
        judged: Facts = {"kind": "judge", "instruction": "Good?", "inputs": {"x": "v1"}}
        waiting = await call("compute_loss", session_id=s, **judged)
        [pending] = waiting["pending"]
        said = '<think>{"feedback": "draft", "score": 1}</think>{"feedback": "Longer.", "score": 0}'
        done = await call("resume", session_id=s, completions={pending["id"]: said})
        assert done["values"][0]["text"] == "Longer."

    drive(main, assisted())


@pytest.mark.requirement("reasoning-apart")
def test_a_reply_that_was_reasoning_alone_fails_with_what_cures_it(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await session(engine, ["one"])
        found = await engine.forward(ME, session_id=s)
        assert found.status == "failed"
        assert "reasoning alone" in str(found.error)
        assert "reasoning_content" in found.next
        asked = server.log[1].body["messages"][-1]["content"]
        assert "reasoning_content" not in asked  # what the operator can do is not the model's

    thought = Fault(message={"content": None, "reasoning_content": "I think that"})
    with StandIn(faults=lambda *_: thought) as server:
        with_endpoint(server, main, tmp_path / "t.db")
