"""What an endpoint will not have is sent otherwise, once learnt, or told in its own words."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Attempt
from textgrad_mcp.engine.answerers.bodies import said_in
from textgrad_mcp.engine.answerers.causes import Cause, cause_of
from textgrad_mcp.engine.answerers.limiter import Limiters
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.engine.endings import Ending, ending
from textgrad_mcp.schemas.completions import Completion, Message
from textgrad_mcp.schemas.errors import (
    AnswererError,
    EndpointDown,
    EndpointRefused,
    PromptRefused,
)

from .standin import Body, Fault, StandIn, fault
from .test_openai_answerer import SCHEMA, answers, asking, settings, unrecorded, using
from .test_openai_faults import outcome

REPLY = '{"feedback": "Be brief."}'
SYSTEM = (Message(role="system", content="Be brief."), Message(role="user", content="hi"))


def error(status: int, message: str, **more: Any) -> Fault:
    """An error in OpenAI's shape."""
    return Fault(status=status, raw=json.dumps({"error": {"message": message, **more}}))


FORMATS: list[Fault] = [
    error(400, "Unknown name \"additionalProperties\" at 'generation_config.response_schema'"),
    error(400, "Failed to initialize samplers: failed to parse grammar"),
    error(500, "failed to load grammar"),
    error(404, "No endpoints found that can handle the requested parameters."),
    error(400, "This model does not support response format `json_schema`."),
    error(400, "Structured output is not supported by this model"),
    error(501, "Not implemented: structured outputs"),
    error(500, "got an unexpected keyword argument 'response_format'"),
    error(400, "Provider returned error", metadata={"raw": '{"detail": "outlines: no schema"}'}),
    Fault(status=400, raw='{"code": 20024, "message": "Json mode is not supported"}'),
    Fault(status=500, raw='{"error": "invalid format: expected \\"json\\""}'),
    Fault(status=400, raw="{\"error\": \"'response_format.type' must be 'text'\"}"),
    Fault(status=422, raw='{"detail": [{"loc": ["body", "response_format"], "msg": "Extra"}]}'),
    Fault(status=400, raw='{"message": "extraneous key [response_format] is not permitted"}'),
    Fault(raw='{"error": "response_format is not supported"}'),
    Fault(raw='[{"error": {"code": 400, "message": "response_schema is unknown"}}]'),
    error(400, "The request is not valid."),
    error(422, "Unprocessable"),
    Fault(status=400, raw=""),
]
"""Refusals of a reply format: by name, in other words, and in no words at all."""


@pytest.mark.requirement("plainer")
@pytest.mark.parametrize("refusal", FORMATS, ids=lambda f: str(f.raw)[:60])
def test_a_reply_format_that_is_refused_in_any_words_gives_way_to_a_plainer_one(
    refusal: Fault,
) -> None:
    def only_text(_: int, body: Body) -> Fault | None:
        return refusal if "response_format" in body else None

    with StandIn(faults=only_text, reply=lambda _: REPLY) as server:
        found, attempts = answers(server, *[asking(reply=SCHEMA)] * 3, retries=0)
        assert {c.text for c in found} == {REPLY}
        refused = sum(a.outcome != "ok" for a in attempts)
        assert 1 <= refused <= 2
        assert len(server.log) == refused + 3
        answers(server, asking("of another model"), model="other")


@pytest.mark.requirement("plainer")
def test_an_error_that_is_not_about_the_format_is_told_and_teaches_nothing() -> None:
    wrong = error(400, "temperature must be at most 2")
    with StandIn(faults=lambda n, _: wrong if n <= 2 else None, reply=lambda _: REPLY) as server:

        async def work(answerer: OpenAIAnswerer) -> Completion:
            with pytest.raises(EndpointRefused, match="temperature must be"):
                await answerer.answer(asking(reply=SCHEMA), unrecorded)
            return await answerer.answer(asking(reply=SCHEMA), unrecorded)

        using(OpenAIAnswerer(settings(server)), work)
    sent = [(seen.body.get("response_format") or {}).get("type") for seen in server.log]
    assert sent == ["json_schema", None, "json_schema"]


@pytest.mark.requirement("plainer")
def test_a_server_that_fails_at_every_format_is_asked_for_plain_text_at_last() -> None:
    def crash(_: int, body: Body) -> Fault | None:
        return fault("500") if "response_format" in body else None

    with StandIn(faults=crash, reply=lambda _: REPLY) as server:
        [got], attempts = answers(server, asking(reply=SCHEMA), retries=2)
    assert got.text == REPLY
    assert [a.outcome for a in attempts] == ["http_500"] * 3 + ["ok"]


@pytest.mark.requirement("plainer")
@pytest.mark.parametrize(
    "said", ["Failed to generate JSON.", "Generated JSON does not match the expected schema."]
)
def test_bad_json_that_an_endpoint_refuses_is_asked_for_again(said: str) -> None:
    bad = error(400, said, code="json_validate_failed", failed_generation='{"feedback": "cut')
    with StandIn(faults={1: bad}, reply=lambda _: REPLY) as server:
        found, attempts = answers(server, *[asking(reply=SCHEMA)] * 2, retries=0)
    assert [c.text for c in found] == [REPLY, REPLY]
    assert [a.outcome for a in attempts] == ["http_400", "ok", "ok"]
    sent = [seen.body["response_format"]["type"] for seen in server.log]
    assert sent == ["json_schema"] * 3


@pytest.mark.requirement("plainer")
def test_bad_json_that_a_person_can_read_is_taken_from_the_refusal() -> None:
    wrote = "{'feedback': 'Be brief.', 'more': 1,}"
    bad = error(400, "Failed to validate JSON", failed_generation=wrote)
    with StandIn(faults=lambda *_: bad) as server:
        [got], attempts = answers(server, asking(reply=SCHEMA))
    assert got.text == wrote
    assert [a.outcome for a in attempts] == ["ok"]


@pytest.mark.requirement("plainer")
def test_json_that_is_always_bad_is_asked_for_in_plain_words() -> None:
    def strict(_: int, body: Body) -> Fault | None:
        bad = error(400, "Failed to generate JSON", code="json_validate_failed")
        return bad if "response_format" in body else None

    with StandIn(faults=strict, reply=lambda _: REPLY) as server:
        found, _ = answers(server, *[asking(reply=SCHEMA)] * 2, retries=0)
    assert [c.text for c in found] == [REPLY, REPLY]
    assert len(server.log) == 5


ROLES: list[Fault] = [
    error(400, "System role not supported"),
    error(500, "System role not supported at row 1, column 96: {{ bos_token }}"),
    error(400, "Conversation roles must alternate user/assistant/user/assistant/..."),
    error(400, "Unsupported value: 'messages[0].role' does not support 'system'"),
    error(400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
    error(400, "Only user and assistant roles are supported!"),
    error(400, "This model does not support system prompts."),
    error(400, "该模型不支持 system 角色"),
    Fault(status=422, raw='{"detail": [{"loc": ["messages", 0, "role"], "msg": "be user"}]}'),
    Fault(status=400, raw='{"message": "The model does not support system messages."}'),
    Fault(raw='{"error": "Error rendering prompt: System role not supported"}'),
]


@pytest.mark.requirement("plainer")
@pytest.mark.parametrize("refusal", ROLES, ids=lambda f: str(f.raw)[:60])
def test_a_system_text_goes_into_the_users_message_where_there_is_no_such_role(
    refusal: Fault,
) -> None:
    def gemma(_: int, body: Body) -> Fault | None:
        roles = [message["role"] for message in body["messages"]]
        alternate = all(a != b for a, b in itertools.pairwise(roles))
        return None if "system" not in roles and alternate else refusal

    again = (*SYSTEM, Message(role="user", content="Again, please."))
    with StandIn(faults=gemma) as server:
        found, attempts = answers(
            server, asking(messages=SYSTEM), asking(messages=again), asking(), retries=0
        )
    assert [a.outcome != "ok" for a in attempts] == [True, False, False, False]
    bodies = [seen.body["messages"] for seen in server.log[1:]]
    assert bodies[0] == [{"role": "user", "content": "Be brief.\n\nhi"}]
    assert bodies[1] == [{"role": "user", "content": "Be brief.\n\nhi\n\nAgain, please."}]
    assert bodies[2] == [{"role": "user", "content": "hi"}]
    assert [len(c.notes) for c in found] == [1, 0, 0]


@pytest.mark.requirement("plainer")
def test_what_is_learnt_of_a_model_holds_for_both_roles_and_for_no_other_model() -> None:
    def gemma(_: int, body: Body) -> Fault | None:
        system = any(message["role"] == "system" for message in body["messages"])
        return ROLES[0] if system and body["model"] == "m" else None

    async def work(first: OpenAIAnswerer) -> None:
        other = OpenAIAnswerer(settings(server, model="other"), limiters)
        for answerer in (first, OpenAIAnswerer(settings(server), limiters), other):
            await answerer.answer(asking(messages=SYSTEM), unrecorded)
            await answerer.close()

    limiters = Limiters()
    with StandIn(faults=gemma) as server:
        using(OpenAIAnswerer(settings(server), limiters), work)
    assert [len(seen.body["messages"]) for seen in server.log] == [2, 1, 1, 2]


@pytest.mark.requirement("plainer")
def test_an_endpoint_may_know_neither_formats_nor_a_system_role() -> None:
    def little(_: int, body: Body) -> Fault | None:
        if "response_format" in body:
            return error(400, "unknown field response_format")
        return ROLES[0] if body["messages"][0]["role"] == "system" else None

    with StandIn(faults=little, reply=lambda _: REPLY) as server:
        both = asking(reply=SCHEMA, messages=SYSTEM)
        found, _ = answers(server, both, both, retries=0)
    assert [c.text for c in found] == [REPLY, REPLY]
    assert len(server.log) == 5


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("stop", Ending.WHOLE),
        ("eos_token", Ending.WHOLE),
        ("end_turn", Ending.WHOLE),
        ("COMPLETE", Ending.WHOLE),
        ("STOP", Ending.WHOLE),
        ("length", Ending.CUT),
        ("MAX_TOKENS", Ending.CUT),
        ("model_length", Ending.CUT),
        ("max_output_tokens", Ending.CUT),
        ("model_context_window_exceeded", Ending.CUT),
        ("incomplete", Ending.CUT),
        ("content_filter", Ending.WITHHELD),
        ("SAFETY", Ending.WITHHELD),
        ("RECITATION", Ending.WITHHELD),
        ("sensitive", Ending.WITHHELD),
        ("guardrail_intervened", Ending.WITHHELD),
        ("error", Ending.FAILED),
        ("insufficient_system_resource", Ending.FAILED),
        ("abort", Ending.FAILED),
        ("network_error", Ending.FAILED),
        ("cancelled", Ending.FAILED),
        ("timeout", Ending.FAILED),
        ("engine_overloaded", Ending.FAILED),
        ("xyzzy", Ending.UNKNOWN),
    ],
)
def test_finish_reasons_of_all_makers_are_known_by_their_words(
    reason: str, meaning: Ending
) -> None:
    assert ending(reason) is meaning


@pytest.mark.requirement("no-bad-values", "retries")
@pytest.mark.parametrize("text", ["The capital of Fra", ""])
@pytest.mark.parametrize(
    "broken",
    [
        {"finish_reason": "error"},
        {"finish_reason": "insufficient_system_resource"},
        {"finish_reason": "abort"},
        {"finish_reason": "never-heard-of"},
        {"error": {"code": 502, "message": "upstream went away"}},
    ],
)
def test_a_reply_that_the_endpoint_broke_off_is_asked_for_again(
    broken: dict[str, Any], text: str
) -> None:
    with StandIn(faults={1: Fault(text=text, choice=broken)}, reply=lambda _: "Paris") as server:
        [got], attempts = answers(server, asking())
    assert got.text == "Paris"
    assert [a.outcome == "ok" for a in attempts] == [False, True]


@pytest.mark.requirement("no-bad-values", "retries")
def test_a_reply_that_is_always_broken_off_ends_as_down() -> None:
    with StandIn(faults=lambda *_: Fault(text="half", finish="error")) as server:
        result, attempts = outcome(settings(server, retries=2))
    assert isinstance(result, EndpointDown)
    assert [a.outcome for a in attempts] == ["finish"] * 3
    assert "finish reason 'error'" in result.message


@pytest.mark.requirement("no-bad-values")
def test_an_unknown_finish_reason_that_comes_always_is_the_endpoints_own_word_and_is_said() -> None:
    with StandIn(faults=lambda *_: Fault(text="whole", finish="bye")) as server:
        found, attempts = answers(server, asking(), asking(), retries=0)
    assert [c.text for c in found] == ["whole", "whole"]
    assert len(attempts) == 3
    assert "'bye'" in found[0].notes[0]
    assert found[1].notes == ()


@pytest.mark.requirement("no-vain-retries")
@pytest.mark.parametrize(
    "raw",
    [
        '{"error": "Unexpected endpoint or method. (POST /chat/completions)"}',
        '{"error": {"message": "Unknown path: /chat/completions"}}',
        '{"detail": "Not Found: no route /chat/completions"}',
    ],
)
def test_a_wrong_address_that_is_told_as_a_success_is_refused_with_the_right_one(raw: str) -> None:
    with StandIn(faults=lambda *_: Fault(raw=raw)) as server:
        result, attempts = outcome(settings(server))
    assert isinstance(result, EndpointRefused)
    assert "usually ends in /v1" in result.next
    assert len(attempts) == 1


@pytest.mark.requirement("errors-mapped")
@pytest.mark.parametrize(
    "raw",
    [
        '[{"error": {"code": 400, "message": "turnip-7", "status": "INVALID_ARGUMENT"}}]',
        '{"errors": [{"message": "turnip-7"}]}',
        '{"msg": "turnip-7"}',
        '{"detail": "turnip-7"}',
        '{"detail": [{"loc": ["body", "model"], "msg": "turnip-7"}]}',
        '{"message": "turnip-7"}',
        '{"error": "Bad Request", "message": "turnip-7"}',
        '{"error": {"message": "Provider error", "metadata": {"raw": "turnip-7"}}}',
        '{"error": {"message": "{\\"error\\": {\\"message\\": \\"turnip-7\\"}}"}}',
        '{"fault": {"faultstring": "turnip-7"}}',
        '{"error": {"details": [{"reason": "turnip-7"}]}}',
        '{"weird": {"shape": "turnip-7"}}',
        "turnip-7",
        "<html><head><title>turnip-7</title></head><body>long</body></html>",
        "<?xml version='1.0'?><Error><Message>turnip-7</Message></Error>",
    ],
)
def test_an_endpoints_own_words_are_told_whatever_their_shape(raw: str) -> None:
    with StandIn(faults=lambda *_: Fault(status=400, raw=raw)) as server:
        result, _ = outcome(settings(server))
    assert isinstance(result, EndpointRefused)
    assert "turnip-7" in result.message


PROMPTS: list[tuple[Fault, Cause]] = [
    (error(400, "maximum context length is 8192 tokens", code="x"), Cause.TOO_LONG),
    (error(400, "the request exceeds the available context size"), Cause.TOO_LONG),
    (error(400, "prompt is too long: 210000 tokens > 200000"), Cause.TOO_LONG),
    (error(400, "The input token count (12) exceeds the maximum"), Cause.TOO_LONG),
    (error(400, "Range of input length should be [1, 6000]"), Cause.TOO_LONG),
    (error(413, "Request too large for model: Limit 6000, Requested 7000"), Cause.TOO_LONG),
    (error(400, "filtered", code="content_filter"), Cause.FILTERED),
    (error(400, "Content Exists Risk"), Cause.FILTERED),
    (error(400, "no", code="data_inspection_failed"), Cause.FILTERED),
    (error(403, "requires moderation and your input was flagged"), Cause.FILTERED),
    (error(400, "your prompt was flagged", code="invalid_prompt"), Cause.FILTERED),
    (error(400, "内容包含不安全或敏感内容"), Cause.FILTERED),
]


@pytest.mark.requirement("no-vain-retries")
@pytest.mark.parametrize(("refusal", "cause"), PROMPTS)
def test_a_refusal_of_one_prompt_is_told_apart_from_one_of_all(
    refusal: Fault, cause: Cause
) -> None:
    assert cause_of(refusal.status, said_in(refusal.raw or "")) is cause
    with StandIn(faults=lambda *_: refusal) as server:
        result, attempts = outcome(settings(server))
    assert isinstance(result, PromptRefused)
    assert len(attempts) == 1
    assert len(result.next) > 30


@pytest.mark.requirement("no-vain-retries")
@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "max_tokens is too large: this model has at most 16384 completion tokens"),
        error(404, "The model `x` does not exist", code="model_not_found"),
        error(403, "Your key may not use this model"),
        error(401, "bad key"),
    ],
)
def test_what_every_prompt_would_meet_is_no_refusal_of_one(refusal: Fault) -> None:
    with StandIn(faults=lambda *_: refusal) as server:
        result, _ = outcome(settings(server))
    assert isinstance(result, EndpointRefused)
    assert not isinstance(result, PromptRefused)


def counted(tokens: int, *prompts: str) -> list[Completion]:
    """The completions of `prompts` where the endpoint counts so many tokens of each."""
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    with StandIn(faults=lambda *_: Fault(usage=usage)) as server:
        return answers(server, *[asking(prompt) for prompt in prompts])[0]


WORDS = "every word is one token at least. "


@pytest.mark.requirement("cut-prompts")
def test_a_prompt_that_was_cut_is_noted_once_with_what_cures_it() -> None:
    first, second = counted(2050, WORDS * 2000, WORDS * 3000)
    [round_cap] = counted(4096, WORDS * 600)
    same = counted(3001, WORDS * 450, WORDS * 460)
    assert "num_ctx" in first.notes[0]
    assert "prompt_budget" in first.notes[0]
    assert "2,050 tokens of a prompt of at least 14,000" in first.notes[0]
    assert second.notes == ()
    assert len(round_cap.notes) == 1
    assert [len(c.notes) for c in same] == [0, 1]


@pytest.mark.requirement("cut-prompts")
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (WORDS * 1000, 8000),
        ("中文的词常常是两个字一个记号。" * 400, 3100),
        ("for (int i = 0; i < n; ++i) {\n        total += values[i];\n    }\n" * 200, 6000),
        (" " * 40_000 + "=" * 20_000, 400),
        ("a" * 30_000, 2000),
        ("Donaudampfschifffahrtsgesellschaft " * 500, 4500),
        ("https://example.com/some/path?query=value " * 300, 3000),
        (WORDS * 1000, 10),
        (WORDS * 1000, 0),
    ],
)
def test_no_prompt_is_called_cut_that_was_read_whole(text: str, tokens: int) -> None:
    [got] = counted(tokens, text)
    assert got.notes == ()


@pytest.mark.requirement("keys-hidden")
def test_headers_of_ones_own_reach_the_endpoint_and_no_message() -> None:
    secret = "gateway-secret-7"
    told = error(400, f"the gateway does not know {secret}")
    with StandIn(faults={2: told}) as server:
        headers = {"X-Gateway": f" {secret}\n", "authorization": "Basic abc"}
        role = settings(server, headers=headers, api_key="my-key")

        async def work(answerer: OpenAIAnswerer) -> tuple[AnswererError, list[Attempt]]:
            attempts: list[Attempt] = []

            async def record(attempt: Attempt) -> None:
                attempts.append(attempt)

            await answerer.answer(asking(), record)
            with pytest.raises(EndpointRefused) as caught:
                await answerer.answer(asking(), record)
            return caught.value, attempts

        refused, attempts = using(OpenAIAnswerer(role), work)
    assert server.log[0].headers["x-gateway"] == secret
    assert server.log[0].headers["authorization"] == "Basic abc"
    assert secret not in f"{refused} {attempts} {role!r}"
    assert "does not know [key]" in refused.message
