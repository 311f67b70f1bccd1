"""The openai answerer against a real server on loopback, through the real client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr
from textgrad_mcp.engine.answerers import Attempt
from textgrad_mcp.engine.answerers.limiter import Limiters
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Message, Purpose
from textgrad_mcp.schemas.errors import BadInput, BudgetExhausted, Conflict
from textgrad_mcp.schemas.settings import RoleSettings

from ...helpers import printed_by
from ...standin import Fault, StandIn, fault, text_of

SCHEMA = {
    "type": "object",
    "properties": {"feedback": {"type": "string"}},
    "required": ["feedback"],
    "additionalProperties": False,
}


def asking(prompt: str = "hi", **fields: Any) -> CompletionRequest:
    """A request for one completion."""
    message = Message(role="user", content=prompt)
    return CompletionRequest(**{"purpose": Purpose.FORWARD, "messages": (message,), **fields})


def settings(server: StandIn, **fields: Any) -> RoleSettings:
    """Settings for the stand-in."""
    return RoleSettings(base_url=server.url, **{"model": "m", "timeout": 20.0, **fields})


def using(answerer: OpenAIAnswerer, work: Callable[[OpenAIAnswerer], Awaitable[Any]]) -> Any:
    """What `work` returns, in a loop of its own, with the connections closed at the end."""

    async def main() -> Any:
        try:
            return await work(answerer)
        finally:
            await answerer.close()

    return asyncio.run(main())


async def unrecorded(_: Attempt) -> None:
    """A record of attempts that nobody reads."""


def answers(
    server: StandIn, *requests: CompletionRequest, **fields: Any
) -> tuple[list[Completion], list[Attempt]]:
    """The completions of `requests`, one after another, and all attempts."""
    attempts: list[Attempt] = []

    async def record(attempt: Attempt) -> None:
        attempts.append(attempt)

    async def work(answerer: OpenAIAnswerer) -> list[Completion]:
        return [await answerer.answer(request, record) for request in requests]

    answerer = OpenAIAnswerer(settings(server, **fields), backoff=0.001)
    return using(answerer, work), attempts


def test_an_answer_comes_back_with_its_usage_cost_and_latency() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    with StandIn(faults={1: Fault(text="Paris", usage=usage)}) as server:
        [got], attempts = answers(server, asking(), price_prompt=2.0, price_completion=8.0)
    assert (got.text, got.finish, got.model, got.refusal) == ("Paris", "stop", "m", None)
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (1000, 10)
    assert got.usage.cached_tokens == 600
    assert got.usage.cost == pytest.approx(0.00208)
    assert got.latency > 0
    assert [a.outcome for a in attempts] == ["ok"]


@pytest.mark.parametrize(
    ("name", "text", "finish", "refusal"),
    [
        ("empty", "", "stop", None),
        ("length", "cut off in the mid", "length", None),
        ("content_filter", "", "content_filter", None),
        ("refusal", "", "stop", "I cannot help with that."),
        ("parts", "in parts", "stop", None),
    ],
)
def test_odd_answers_come_back_as_they_are(
    name: str, text: str, finish: str, refusal: str | None
) -> None:
    with StandIn(faults={1: fault(name)}) as server:
        [got], attempts = answers(server, asking())
    assert (got.text, got.finish, got.refusal) == (text, finish, refusal)
    assert len(attempts) == 1


def test_no_cost_is_claimed_where_the_endpoint_counted_nothing_or_no_price_is_set() -> None:
    with StandIn(faults={1: fault("no-usage")}) as server:
        uncounted, counted = answers(server, asking(), asking(), price_prompt=1.0)[0]
        [unpriced], _ = answers(server, asking())
    assert uncounted.usage.cost is None
    assert counted.usage.cost == pytest.approx(1e-6)
    assert unpriced.usage.cost is None


def test_messages_images_and_parameters_arrive_as_they_were_meant() -> None:
    image = "data:image/png;base64,AAAA"
    messages = (
        Message(role="system", content="Be {brief}"),
        Message(role="user", content="What is it?", images=(image,)),
    )
    request = asking(messages=messages, params={"temperature": 0.7, "min_p": 0.1})
    with StandIn() as server:
        answers(server, request, params={"temperature": 0.0, "max_tokens": 5})
    body = server.log[0].body
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": image}},
    ]
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be {brief}"},
            {"role": "user", "content": parts},
        ],
        "temperature": 0.7,
        "max_tokens": 5,
        "min_p": 0.1,
    }


def test_a_seed_moves_with_the_sample_so_that_samples_differ() -> None:
    with StandIn() as server:
        requests = [asking(sample=n) for n in range(3)]
        answers(server, *requests, params={"seed": 7})
    assert [seen.body["seed"] for seen in server.log] == [7, 8, 9]


@pytest.mark.parametrize("name", ["messages", "model", "n", "stream", "stream_options"])
def test_parameters_that_would_change_the_call_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=name):
        OpenAIAnswerer(RoleSettings(params={name: 1}))


@pytest.mark.parametrize(
    ("form", "sent"), [("schema", "json_schema"), ("object", "json_object"), ("text", None)]
)
def test_a_shaped_reply_is_asked_for_in_the_format_that_is_set(form: str, sent: str | None) -> None:
    with StandIn() as server:
        answers(server, asking(reply=SCHEMA), asking(), reply_format=form)
    first, second = [seen.body.get("response_format") for seen in server.log]
    assert (first or {}).get("type") == sent
    assert second is None
    if form == "schema":
        assert first
        assert first["json_schema"] == {"name": "reply", "strict": True, "schema": SCHEMA}


@pytest.mark.parametrize(
    ("known", "tried"),
    [
        (["json_object", "text"], ["json_schema", "json_object"]),
        (["text"], ["json_schema", "json_object", None]),
    ],
)
def test_a_format_the_endpoint_does_not_know_is_given_up_once_for_all(
    known: list[str], tried: list[str | None]
) -> None:
    with StandIn(formats=known) as server:
        _, attempts = answers(server, *[asking(reply=SCHEMA)] * 3, retries=0)
    sent = [(seen.body.get("response_format") or {}).get("type") for seen in server.log]
    assert sent == [*tried, tried[-1], tried[-1]]
    outcomes = ["http_400"] * (len(tried) - 1) + ["ok"] * 3
    assert [a.outcome for a in attempts] == outcomes
    assert "response_format" in attempts[0].detail


def test_calls_that_meet_an_unknown_format_together_give_up_that_format_alone() -> None:
    async def work(answerer: OpenAIAnswerer) -> None:
        asked = [answerer.answer(asking(reply=SCHEMA), unrecorded) for _ in range(12)]
        calls = [asyncio.ensure_future(call) for call in asked]
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 12)
        server.resume()
        await asyncio.gather(*calls)

    with StandIn(formats=["json_object", "text"], paused=True) as server:
        using(OpenAIAnswerer(settings(server, retries=0)), work)
    sent = [seen.body["response_format"]["type"] for seen in server.log]
    assert sent == ["json_schema"] * 12 + ["json_object"] * 12


@pytest.mark.requirement("concurrency")
def test_no_more_calls_are_in_flight_than_is_set_and_all_of_those_are() -> None:
    async def work(answerer: OpenAIAnswerer) -> None:
        calls = [asyncio.ensure_future(answerer.answer(asking(), unrecorded)) for _ in range(40)]
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 5)
        server.resume()
        await asyncio.gather(*calls)

    with StandIn(paused=True) as server:
        using(OpenAIAnswerer(settings(server, concurrency=5)), work)
    assert server.most_in_flight == 5
    assert len(server.log) == 40


@pytest.mark.requirement("kill")
def test_a_slot_is_held_until_the_reply_is_recorded() -> None:
    recording: list[Attempt] = []
    limiters = Limiters()

    async def work(answerer: OpenAIAnswerer) -> None:
        all_there, recorded = asyncio.Event(), asyncio.Event()

        async def record(attempt: Attempt) -> None:
            recording.append(attempt)
            if len(recording) == 3:
                all_there.set()
            await recorded.wait()

        calls = [asyncio.ensure_future(answerer.answer(asking(), record)) for _ in range(7)]
        await all_there.wait()
        assert (limiter.active, limiter.waiting, len(server.log)) == (3, 4, 3)
        recorded.set()
        await asyncio.gather(*calls)
        assert all(attempt.brought is not None for attempt in recording)

    with StandIn() as server:
        limiter = limiters.of(server.url, "", 3)
        using(OpenAIAnswerer(settings(server, concurrency=3), limiters), work)
    assert len(recording) == 7


def test_two_roles_at_one_endpoint_share_its_limit() -> None:
    async def work(forward: OpenAIAnswerer) -> None:
        pair = (forward, OpenAIAnswerer(settings(server, concurrency=4, model="b"), limiters))
        calls = [pair[n % 2].answer(asking(), unrecorded) for n in range(20)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 4)
        server.resume()
        await asyncio.gather(*tasks)
        await pair[1].close()

    limiters = Limiters()
    with StandIn(paused=True) as server:
        using(OpenAIAnswerer(settings(server, concurrency=4), limiters), work)
    assert server.most_in_flight == 4


def test_a_call_that_hangs_holds_up_only_itself() -> None:
    async def work(answerer: OpenAIAnswerer) -> None:
        slow = asyncio.ensure_future(answerer.answer(asking("slow"), unrecorded))
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
        got = await asyncio.gather(*(answerer.answer(asking(), unrecorded) for _ in range(20)))
        assert len(got) == 20
        assert not slow.done()
        slow.cancel()

    with StandIn(faults={1: fault("hang")}) as server:
        using(OpenAIAnswerer(settings(server, concurrency=2)), work)


def test_a_call_that_waits_for_its_retry_holds_no_slot() -> None:
    async def work(answerer: OpenAIAnswerer) -> None:
        failing = asyncio.ensure_future(answerer.answer(asking("first"), unrecorded))
        await asyncio.to_thread(server.wait_for, lambda s: len(s.log) == 1)
        await answerer.answer(asking("second"), unrecorded)
        assert not failing.done()
        await failing

    with StandIn(faults={1: fault("500", retry_after=0.5)}) as server:
        using(OpenAIAnswerer(settings(server, concurrency=1), backoff=0.001), work)
    prompts = [text_of(seen.body["messages"][-1]) for seen in server.log]
    assert prompts == ["first", "second", "first"]


@pytest.mark.requirement("concurrency")
def test_an_endpoint_that_is_crowded_gets_half_as_many_calls() -> None:
    async def work(answerer: OpenAIAnswerer) -> None:
        calls = [asyncio.ensure_future(answerer.answer(asking(), unrecorded)) for _ in range(8)]
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 8)
        server.resume()
        await asyncio.gather(*calls)

    faults = dict.fromkeys(range(1, 9), fault("429", retry_after=0.01))
    with StandIn(faults=faults, paused=True, latency=0.01) as server:
        using(OpenAIAnswerer(settings(server, concurrency=8), backoff=0.001), work)
    assert len(server.log) == 16
    assert max(seen.in_flight for seen in server.log[8:12]) <= 4


@pytest.mark.requirement("concurrency")
@pytest.mark.parametrize("seed", range(4))
def test_cancelled_calls_leave_no_slot_taken(seed: int) -> None:
    choose = random.Random(seed)

    async def work(answerer: OpenAIAnswerer) -> None:
        for _ in range(5):
            calls = [answerer.answer(asking(), unrecorded) for _ in range(30)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            while not all(task.done() for task in tasks):
                choose.choice(tasks).cancel()
                await asyncio.sleep(choose.choice([0, 0, 0.001]))
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (limiter.active, limiter.waiting) == (0, 0)
        await asyncio.gather(*(answerer.answer(asking(), unrecorded) for _ in range(6)))

    limiters = Limiters()

    def faults(index: int, _: dict[str, Any]) -> Fault | None:
        return fault("429", retry_after=0.001) if index % 3 == 0 else None

    with StandIn(faults=faults, latency=0.001) as server:
        answerer = OpenAIAnswerer(settings(server, concurrency=3), limiters, backoff=0.001)
        limiter = limiters.of(server.url, "", 3)
        using(answerer, work)


def test_an_error_from_the_record_ends_the_call_before_another_attempt_is_paid() -> None:
    async def spent(_: Attempt) -> None:
        raise BudgetExhausted("spent")

    async def work(answerer: OpenAIAnswerer) -> None:
        with pytest.raises(BudgetExhausted):
            await answerer.answer(asking(), spent)

    with StandIn(faults={1: fault("500")}) as server:
        using(OpenAIAnswerer(settings(server), backoff=0.001), work)
    assert len(server.log) == 1


@pytest.mark.requirement("cancelled")
def test_a_run_that_was_stopped_makes_no_further_attempt() -> None:
    stopped: list[bool] = []

    def go() -> None:
        if stopped:
            raise Conflict("stopped")

    async def record(_: Attempt) -> None:
        stopped.append(True)

    async def work(answerer: OpenAIAnswerer) -> None:
        with pytest.raises(Conflict):
            await answerer.answer(asking(), record, go)
        assert limiter.active == 0

    limiters = Limiters()
    with StandIn(faults={1: fault("500")}) as server:
        limiter = limiters.of(server.url, "", 1)
        using(OpenAIAnswerer(settings(server), limiters, backoff=0.001), work)
    assert len(server.log) == 1


def test_an_answerer_that_was_closed_connects_again() -> None:
    async def work(answerer: OpenAIAnswerer) -> list[Completion]:
        first = await answerer.answer(asking(), unrecorded)
        await answerer.close()
        await answerer.close()
        return [first, await answerer.answer(asking(), unrecorded)]

    with StandIn() as server:
        assert len(using(OpenAIAnswerer(settings(server)), work)) == 2


@pytest.mark.requirement("keys-kept-home")
def test_keys_and_names_in_the_environment_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-private")
    with StandIn() as server:
        answers(server, asking())
        answers(server, asking(), api_key=" my-key\n")
    assert [seen.headers["authorization"] for seen in server.log] == [
        "Bearer none",
        "Bearer my-key",
    ]
    sent = " ".join(str(seen.headers) for seen in server.log)
    assert "private" not in sent
    assert "somebody" not in sent


def test_azures_own_addresses_get_their_version_and_the_key_in_a_header() -> None:
    with StandIn() as server:
        role = RoleSettings(
            base_url=f"{server.url}?api-version=2024-10-21",
            model="m",
            api_key=SecretStr("my-key"),
            timeout=20.0,
        )

        async def work(answerer: OpenAIAnswerer) -> Completion:
            return await answerer.answer(asking(), unrecorded)

        assert using(OpenAIAnswerer(role), work).text
        answers(server, asking(), api_key="my-key")
    assert [seen.headers.get("api-key") for seen in server.log] == ["my-key", None]


def test_the_client_library_is_not_imported_before_the_first_call() -> None:
    code = (
        "import sys\n"
        "from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer\n"
        "from textgrad_mcp.schemas.settings import RoleSettings\n"
        "OpenAIAnswerer(RoleSettings(model='m'))\n"
        "print(sorted({'openai', 'httpx2'} & set(sys.modules)))"
    )
    assert printed_by(code) == "[]"
