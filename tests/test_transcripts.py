"""Conversations as endpoints and assistants log them become rows, and their prompt is named."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from textgrad_mcp.schemas.errors import BadInput

from .reading import notes_of, rows_of

SYSTEM = {"role": "system", "content": "Be brief."}
HI = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "hello"}
MORE = {"role": "user", "content": [{"type": "text", "text": "more"}, {"type": "image_url"}]}
SCRIPT = "[user]\nhi\n\n[assistant]\nhello\n\n[user]\nmore"


def lines(*records: Any) -> str:
    """JSON Lines."""
    return "\n".join(json.dumps(record) for record in records)


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ({"messages": [HI, HELLO]}, {"input": "hi", "output": "hello"}),
        (
            {"messages": [SYSTEM, HI, HELLO], "id": 7, "tools": [1]},
            {"system": "Be brief.", "input": "hi", "output": "hello", "id": "7"},
        ),
        (
            {"messages": [HI, HELLO, MORE, {"role": "assistant", "content": "bye"}]},
            {"input": SCRIPT, "output": "bye"},
        ),
        (
            {
                "request": {"model": "m", "messages": [HI]},
                "response": {"choices": [{"message": HELLO}]},
            },
            {"input": "hi", "output": "hello"},
        ),
        (
            {
                "custom_id": "1",
                "body": {"messages": [HI]},
                "response": {"body": {"choices": [{"message": HELLO}]}},
            },
            {"input": "hi", "output": "hello", "custom_id": "1"},
        ),
        (
            {
                "request": {"system": "Be brief.", "messages": [HI]},
                "response": {"content": [{"type": "text", "text": "hello"}]},
            },
            {"system": "Be brief.", "input": "hi", "output": "hello"},
        ),
        ({"prompt": [HI], "completion": [HELLO]}, {"input": "hi", "output": "hello"}),
        (
            {"input": [SYSTEM, HI], "ideal": "x"},
            {"system": "Be brief.", "input": "hi", "ideal": "x"},
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "hi"},
                    {"from": "gpt", "value": "hello"},
                ]
            },
            {"input": "hi", "output": "hello"},
        ),
        (
            {"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [{"f": 1}]}]},
            {"input": "hi", "output": '[{"f": 1}]'},
        ),
        (
            {"messages": [HI, HELLO], "output": "gold"},
            {"input": "hi", "output": "hello", "output 2": "gold"},
        ),
    ],
)
def test_a_logged_call_is_a_row(record: dict[str, Any], row: dict[str, str]) -> None:
    assert rows_of(lines(record)) == [row]
    assert rows_of([record]) == [row]
    assert rows_of(json.dumps({"data": [record]})) == [row]
    assert "fields input" in notes_of([record])


def test_rows_that_only_look_like_it_stay_as_they_are() -> None:
    for row in (
        {"messages": "3"},
        {"input": [1, 2]},
        {"messages": [{"role": "king"}]},
        {"text": "x"},
    ):
        [found] = rows_of([row])
        assert set(found) == set(row)


@pytest.mark.parametrize(
    "odd",
    [
        {"messages": [HI], "output": [1, 2]},
        {"messages": [HI], "response": {"choices": [[[[]]]]}},
        {"messages": [HI], "response": {"output": {"text": {"content": {"text": {"text": {}}}}}}},
        {"messages": [HI, HELLO], "system": {"parts": ["Be brief."]}},
        {"messages": [{"role": "user", "content": 7}, HELLO]},
        {"messages": [{"role": "assistant", "content": "hello"}]},
        {"messages": [{"role": ["user"], "content": "x"}], "type": ["user"]},
        {"type": "user", "message": {"role": "king"}},
        {"type": "response_item", "payload": {"type": "message", "role": None}},
    ],
)
def test_odd_conversations_are_rows_or_no_rows_and_never_a_crash(odd: dict[str, Any]) -> None:
    for record in (odd, {"q": "x"} | odd):
        with suppress(BadInput):
            assert rows_of([record, {"q": "y"}])


def test_marks_that_are_never_closed_take_no_time() -> None:
    reminder = "<system-reminder>" * 50_000
    text = lines(claude("user", "fix it" + reminder), claude("assistant", "Fixed."))
    assert rows_of(text) == [{"input": "fix it", "output": "Fixed."}]


def test_the_prompt_that_most_were_held_under_is_named() -> None:
    other = {"role": "system", "content": "Be long."}
    said = notes_of([{"messages": [s, HI, HELLO]} for s in (SYSTEM, SYSTEM, other)])
    assert "prompt under improvement seems to be the field system" in said
    assert "the same in 2 of 3 rows ('Be brief.', 1 others in the rest)" in said
    assert "create_variable(session_id, role='system prompt'" in said
    assert "under improvement" not in notes_of([{"system": "x", "q": "y"}])


def claude(kind: str, content: Any, **more: Any) -> dict[str, Any]:
    """A line of a session of Claude Code."""
    return {"type": kind, "uuid": "u", "message": {"role": kind, "content": content}, **more}


def test_a_session_of_claude_code_is_a_row_for_each_turn_that_was_answered() -> None:
    text = lines(
        {"type": "summary", "summary": "s"},
        claude("user", "Caveat: local commands", isMeta=True),
        claude("user", "<command-name>/clear</command-name>"),
        claude("user", "fix it<system-reminder>be good</system-reminder>"),
        claude("assistant", [{"type": "thinking", "thinking": "hm"}]),
        claude("assistant", [{"type": "text", "text": "Let me look."}]),
        claude("assistant", [{"type": "tool_use", "name": "Read", "input": {}}]),
        claude("user", [{"type": "tool_result", "content": "file"}]),
        claude("user", "a sub-agent's", isSidechain=True),
        claude("assistant", [{"type": "text", "text": "Its answer."}], isSidechain=True),
        claude("assistant", [{"type": "text", "text": "Fixed."}]),
        claude("user", "[Request interrupted by user]"),
        claude("user", [{"type": "text", "text": "thanks"}]),
        claude("user", "and now?"),
        claude("assistant", [{"type": "text", "text": "Done."}]),
        claude("user", "never answered"),
    )
    assert rows_of(text) == [
        {"input": "fix it", "output": "Fixed."},
        {"input": "thanks\n\nand now?", "output": "Done."},
    ]
    assert "a session of Claude Code" in notes_of(text)


def test_a_sub_agents_own_session_is_read_as_well() -> None:
    text = lines(
        claude("user", "look it up", isSidechain=True),
        claude("assistant", [{"type": "text", "text": "It is so."}], isSidechain=True),
    )
    assert rows_of(text) == [{"input": "look it up", "output": "It is so."}]


def codex(kind: str, role: str, text: str) -> dict[str, Any]:
    """A message of a session of Codex."""
    block = "output_text" if role == "assistant" else "input_text"
    payload = {"type": "message", "role": role, "content": [{"type": block, "text": text}]}
    return {"timestamp": "t", "type": kind, "payload": payload}


def test_a_session_of_codex_is_too() -> None:
    said = "response_item"
    text = lines(
        {"type": "session_meta", "payload": {"id": "1", "instructions": "Be kind."}},
        codex(said, "developer", "<permissions>none</permissions>"),
        codex(said, "user", "# AGENTS.md instructions for /x\nrules"),
        codex(said, "user", "<environment_context>\n<cwd>/x</cwd>\n</environment_context>"),
        codex(said, "user", "2+2?"),
        {"type": "event_msg", "payload": {"type": "user_message", "message": "2+2?"}},
        {"type": said, "payload": {"type": "function_call", "name": "shell"}},
        codex(said, "assistant", "4"),
        codex(said, "user", "1+1?"),
        codex(said, "assistant", "2"),
    )
    assert rows_of(text) == [
        {"system": "Be kind.", "input": "2+2?", "output": "4"},
        {"system": "Be kind.", "input": "1+1?", "output": "2"},
    ]
    assert "a session of Codex" in notes_of(text)
    assert "'Be kind.'" in notes_of(text)


def test_an_older_session_of_codex_has_its_messages_bare() -> None:
    text = lines(
        {"id": "1", "timestamp": "t", "instructions": None},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "yo"}],
        },
    )
    assert rows_of(text) == [{"input": "hi", "output": "yo"}]


def test_a_message_a_line_is_one_conversation() -> None:
    text = lines(SYSTEM, HI, HELLO, MORE, {"role": "assistant", "content": "bye"})
    assert rows_of(text) == [
        {"system": "Be brief.", "input": "hi", "output": "hello"},
        {"system": "Be brief.", "input": "more", "output": "bye"},
    ]
