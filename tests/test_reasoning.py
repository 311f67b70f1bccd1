"""What a model thought is no part of what it answered; what the program is about stays whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.reasoning import apart, asked_for, parted
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Message, Purpose

from .standin import Fault, StandIn
from .test_openai_answerer import SCHEMA, answers, asking

TAGS = [
    ("<think>", "</think>"),
    ("<think>\n", "\n</think>\n\n"),
    ("<THINK>", "</THINK>\n"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>\n", "\n</reasoning>\n"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>\n"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n\n"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysis'", "assistantfinal"),
    ("Here is my thought process:\n", "\n\nHere is my response:\n\n"),
]


@pytest.mark.requirement("reasoning-apart")
@pytest.mark.parametrize(("start", "end"), TAGS)
def test_thoughts_at_the_start_are_taken_apart(start: str, end: str) -> None:
    found = parted(f'{start}Hm, {{"value": could be it, or 17.{end}42')
    assert found.answer == "42"
    assert 'Hm, {"value": could be it, or 17.' in found.thoughts


@pytest.mark.parametrize(
    "text",
    [
        "Hm, 17?\n</think>\n\n42",
        "Hm.</think>42",
        "</think>\n\n42",
        "<think></think>\n\n42",
        "<think>a</think>\n<think>b</think>\n42",
        "<think>I end with </think> here.\n</think>\n42",
        "<think>a</think><answer>42</answer>",
        "<think>a</think>\n<response>\n42\n</response>\n",
        "a</think>b</think>42",
    ],
)
def test_a_first_tag_may_stand_in_the_prompt_and_blocks_may_follow_each_other(text: str) -> None:
    assert parted(text).answer == "42"


@pytest.mark.requirement("no-bad-values")
@pytest.mark.parametrize(
    "text",
    [
        '<think>\nPerhaps {"value": "draft"}',
        "<think>a</think><think>b",
        "All that I thought.\n</think>\n",
        "<|channel|>analysis<|message|>only",
        "[THINK]on and on",
    ],
)
def test_thoughts_without_an_end_leave_no_answer(text: str) -> None:
    assert parted(text).answer == ""


@pytest.mark.requirement("reasoning-apart")
@pytest.mark.parametrize(
    "text",
    [
        "42",
        "  42 \n",
        "Put your thoughts between <think> and </think>.",
        "The tag that ends them is </think>.",
        "It ends with `</think>`\n",
        "Write:\n```\n<think>\n...\n</think>\n```\n",
        "Code:\n```\nx\n</think>\n```\n",
        're.sub(r"<think>.*?</think>", "", text)',
        '{"value": "End with\\n</think>\\nand answer."}',
        "<think>",
        "Use these:\n<think>\nthoughts\n</think>\nThen answer.",
        "Harmony writes <|channel|>final<|message|> before the answer.",
        "analysis of the final assistant",
    ],
)
def test_tags_that_an_answer_is_about_stay(text: str) -> None:
    assert parted(text).answer == text


@pytest.mark.requirement("reasoning-apart")
@given(st.text(st.characters(exclude_characters="<[◁")))
def test_a_text_without_tags_is_the_answer_to_the_last_space(text: str) -> None:
    assert parted(text).answer == text


@pytest.mark.parametrize(
    ("prompt", "asks"),
    [
        ("Think between <think> and </think>, then answer.", {"think"}),
        ("Write <reasoning>...</reasoning><answer>...</answer>", {"reasoning", "answer"}),
        ("Use think tags.", {"think"}),
        ("Do not show <think> tags.", set()),
        ("Answer without <think> blocks. Be brief.", set()),
        ("Think step by step.", set()),
    ],
)
def test_a_prompt_asks_for_tags_or_forbids_them(prompt: str, asks: set[str]) -> None:
    assert asked_for([prompt]) == asks


def said(text: str, prompt: str, **fields: Any) -> Completion:
    request = asking(prompt, **fields)
    return apart(Completion(text=text), request)


@pytest.mark.requirement("reasoning-apart")
def test_tags_that_the_program_asks_for_belong_to_its_output() -> None:
    text = "<think>six times seven</think>42"
    assert said(text, "Show your thoughts in <think></think>.").text == text
    assert said(text, "6*7?").text == "42"
    assert said(text, "6*7?").reasoning == "six times seven"
    assert said(text, "Talk of <think>.", purpose=Purpose.JUDGE).text == "42"
    mixed = "<think>own</think><reasoning>asked</reasoning>42"
    wanted = said(mixed, "Write <reasoning>...</reasoning> first.")
    assert wanted.text == "<reasoning>asked</reasoning>42"


@pytest.mark.requirement("reasoning-apart")
def test_what_a_program_outside_prints_has_no_thoughts() -> None:
    text = "<think>printed</think>42"
    assert said(text, "run it", purpose=Purpose.EXTERNAL).text == text


@pytest.mark.parametrize("piece", ["<think></think>", "</think>\n", "<think>", "<think>a</think>b"])
def test_hostile_repetition_is_taken_apart_in_bounded_work(piece: str) -> None:
    parted(piece * 50_000)
    parted("<|channel|>analysis<|message|>" * 50_000)


@pytest.mark.requirement("reasoning-apart")
def test_an_endpoints_own_fields_for_thoughts_are_kept_apart() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "42"},
    ]
    shapes: list[Fault] = [
        Fault(text="42", message={"reasoning_content": "hm"}),
        Fault(text="42", message={"reasoning": "hm"}),
        Fault(text="42", message={"reasoning_details": [{"type": "x", "text": "hm"}]}),
        Fault(content=parts),
        Fault(text="<think>hm</think>42"),
    ]
    with StandIn(faults=dict(enumerate(shapes, 1))) as server:
        found, _ = answers(server, *[asking(f"q{n}") for n in range(len(shapes))])
    assert [(c.text, c.reasoning) for c in found] == [("42", "hm")] * len(shapes)


REPLY = '{"feedback": "Be brief."}'
MISPLACED = {"content": None, "reasoning_content": REPLY}


def test_a_json_reply_that_a_parser_took_for_a_thought_is_the_reply() -> None:
    with StandIn(faults=lambda *_: Fault(message=MISPLACED)) as server:
        [got], _ = answers(server, asking(reply=SCHEMA))
    assert (got.text, got.reasoning) == (REPLY, "")


@pytest.mark.parametrize(
    "role",
    [
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"think": False},
        {"reasoning_effort": "none"},
        {"thinking": {"type": "disabled"}},
        {"reasoning": {"enabled": False}},
    ],
)
def test_with_thinking_off_whatever_came_as_a_thought_is_the_answer(role: dict[str, Any]) -> None:
    swallowed = Fault(message={"content": None, "reasoning_content": "42"})
    with StandIn(faults=lambda *_: swallowed) as server:
        [off], _ = answers(server, asking(), params=role)
        [on], _ = answers(server, asking())
        [soft], _ = answers(server, asking("6*7? /no_think"))
    assert (off.text, soft.text) == ("42", "42")
    assert (on.text, on.reasoning) == ("", "42")


@pytest.mark.requirement("no-bad-values")
@pytest.mark.parametrize(
    "thought", ['Perhaps {"feedback": "draft"}?', '{"feedback": "cut', '{"other": "x"}']
)
def test_a_thought_that_holds_a_draft_is_no_reply(thought: str) -> None:
    with StandIn(faults=lambda *_: Fault(message={"content": "", "reasoning": thought})) as server:
        [got], _ = answers(server, asking(reply=SCHEMA))
    assert (got.text, got.reasoning) == ("", thought)


def test_the_answer_after_a_parsers_stray_tag_is_found() -> None:
    stray = Fault(message={"content": None, "reasoning_content": "hm\n</think>\n\n42"})
    with StandIn(faults={1: stray}) as server:
        [got], _ = answers(server, asking())
    assert (got.text, got.reasoning) == ("42", "hm")


def test_the_roles_of_a_request_are_what_is_looked_at_for_tags() -> None:
    system = Message(role="system", content="Show <think> tags.")
    request = CompletionRequest(
        purpose=Purpose.FORWARD, messages=(system, Message(role="user", content="q"))
    )
    assert apart(Completion(text="<think>a</think>b"), request).text == "<think>a</think>b"
