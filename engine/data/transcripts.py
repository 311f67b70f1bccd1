"""Rows out of conversations: what was asked, what was answered, and under which system prompt.

Read are rows that hold a list of messages, as endpoints and fine-tuning files have them, and files
with a message a line, as Claude Code and Codex keep their sessions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from .reading import Reading, Row, free_name, shown

_ROLES = {
    **{name: name for name in ("system", "user", "assistant", "tool", "function")},
    **{"developer": "system", "human": "user", "gpt": "assistant", "model": "assistant"},
    **{"ai": "assistant", "bot": "assistant", "chatbot": "assistant"},
}
_HELD_IN = ("messages", "conversations", "conversation", "chat", "dialogue", "input", "prompt")
_REQUESTS = ("request", "body", "input", "params", "kwargs")
_ANSWERS = ("response", "completion", "output", "choices", "body", "message", "content", "text")
UNDER_IMPROVEMENT = "The prompt under improvement"
"""How the note begins that names the prompt in a log."""
_HEAD = 50
"""Rows that are looked at to see what a file holds."""
_DEEPEST = 8
"""Levels of a logged answer that its words are looked for in."""
_PROMPTS = 1000
"""Different system prompts that are counted."""
_MACHINE = re.compile(
    r"<([\w -]+)>.*</\1>|# AGENTS\.md instructions.*|\[Request interrupted.*", re.S
)
_REMINDER = ("<system-reminder>", "</system-reminder>")


@dataclass(frozen=True)
class Turn:
    """What one side said."""

    role: str
    text: str


_END = Turn("user", "The end.")
"""A turn of the user's after the last, so that the last is told as any other."""


def turns_of(messages: Any) -> list[Turn] | None:
    """The turns of a list of messages; None for anything else."""
    if not isinstance(messages, list) or not messages:
        return None
    turns = [_turn(one) for one in messages]
    return None if None in turns else [turn for turn in turns if turn is not None]


def conversations(reading: Reading, rows: Iterator[Row]) -> Iterator[Row]:
    """Rows as they are, but those that are conversations as the fields system, input, output."""
    head = list(islice(rows, _HEAD))
    prompts = Counter[str]()
    yield from _read(reading, head, chain(head, rows), prompts)
    _say_prompt(reading, prompts)


def _read(
    reading: Reading, head: list[Row], rows: Iterator[Row], prompts: Counter[str]
) -> Iterator[Row]:
    first = [row for _, row in head]
    if said := [r for r in first if isinstance(r.get("message"), dict) and _is_side(r.get("type"))]:
        agent = all(row.get("isSidechain") for row in said)
        return _exchanges(reading, "a session of Claude Code", _claude(rows, agent), prompts)
    if any(_is_codex(row) for row in first):
        return _exchanges(reading, "a session of Codex", _codex(rows), prompts)
    if len(first) > 1 and all(_turn(row) and "id" not in row for row in first):
        return _exchanges(reading, "a message a line", _bare(rows), prompts)
    return _chats(reading, rows, prompts)


def _is_side(role: Any) -> bool:
    return role in ("user", "assistant")


def _is_codex(row: dict[str, Any]) -> bool:
    kind, payload = row.get("type"), row.get("payload")
    new = kind in ("session_meta", "response_item", "event_msg", "turn_context")
    return (new and isinstance(payload, dict)) or (kind == "message" and _turn(row) is not None)


def _turn(message: Any) -> Turn | None:
    if not isinstance(message, dict):
        return None
    role = _ROLES.get(str(message.get("role", message.get("from", ""))).lower())
    content = message.get("content", message.get("value"))
    calls = message.get("tool_calls")
    if role is None or ("content" not in message and "value" not in message and not calls):
        return None
    text = _text(content)
    return Turn(role, text or json.dumps(calls, ensure_ascii=False) if calls else text)


def _text(content: Any) -> str:
    """The words of a message, which may be in blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    blocks = [b if isinstance(b, str) else _block(b) for b in content]
    return "\n".join(block for block in blocks if block)


def _block(block: Any) -> str:
    text = block.get("text") if isinstance(block, dict) else None
    return text if isinstance(text, str) else ""


def _chats(reading: Reading, rows: Iterator[Row], prompts: Counter[str]) -> Iterator[Row]:
    """A row for each conversation; what stands beside its messages stays."""
    for place, row in rows:
        found = _messages(row)
        if found is None:
            yield place, row
            continue
        reading.say(
            "Conversations were read as the fields input (the user's turn, or all that was said "
            "before the last answer), output (the assistant's last message) and system."
        )
        chat = _chat(*found)
        _count(prompts, chat.get("system"))
        yield place, chat


def _messages(row: dict[str, Any]) -> tuple[list[Turn], dict[str, Any]] | None:
    """The turns that a row holds, and the rest of the row."""
    if not any(isinstance(value, list | dict) for value in row.values()):
        return None
    for key in _HELD_IN:
        if (turns := turns_of(row.get(key))) is not None:
            return _answered(turns, {k: v for k, v in row.items() if k != key})
    for key in _REQUESTS:
        inner = row.get(key)
        if isinstance(inner, dict) and (turns := turns_of(inner.get("messages"))) is not None:
            rest = {k: v for k, v in row.items() if k != key}
            if isinstance(inner.get("system"), str):
                rest["system"] = inner["system"]
            return _answered(turns, rest)
    return None


def _answered(turns: list[Turn], rest: dict[str, Any]) -> tuple[list[Turn], dict[str, Any]]:
    """The turns with the answer that stands beside them, if it does, and what else does."""
    rest = {k: v for k, v in rest.items() if k != "tools"}
    if turns[-1].role == "assistant":
        return turns, {k: v for k, v in rest.items() if k != "response"}
    for key in _ANSWERS:
        if key in rest and (answer := _answer(rest[key])):
            kept = {k: v for k, v in rest.items() if k != key}
            return [*turns, Turn("assistant", answer)], kept
    return turns, rest


def _answer(found: Any, depth: int = _DEEPEST) -> str:
    """The words of an answer as endpoints give it, which may be `depth` levels down."""
    if isinstance(found, str):
        return found
    if isinstance(found, list):
        if turns := turns_of(found):
            return turns[-1].text
        return _text(found) or (_answer(found[0], depth - 1) if found and depth else "")
    if isinstance(found, dict) and depth:
        answers = (_answer(found[key], depth - 1) for key in _ANSWERS if found.get(key))
        return next((answer for answer in answers if answer), "")
    return ""


def _chat(turns: list[Turn], rest: dict[str, Any]) -> dict[str, Any]:
    last = max((i for i, t in enumerate(turns) if t.role == "assistant"), default=len(turns))
    before = [t for t in turns[:last] if t.role != "system"]
    row: dict[str, Any] = {}
    if system := "\n\n".join(t.text for t in turns[:last] if t.role == "system"):
        row["system"] = system
    row["input"] = before[0].text if len(before) == 1 else _script(before)
    if last < len(turns):
        row["output"] = turns[last].text
    for key, value in rest.items():
        row[free_name(key, row)] = value
    return row


def _script(turns: list[Turn]) -> str:
    return "\n\n".join(f"[{turn.role}]\n{turn.text}" for turn in turns)


def _exchanges(
    reading: Reading, what: str, turns: Iterator[tuple[int, Turn]], prompts: Counter[str]
) -> Iterator[Row]:
    """A row for each turn of the user that was answered: the last that was said before the next."""
    reading.say(
        f"{reading.name} was read as {what}: a row for each turn of the user, input, with what the "
        "assistant said last before the next, output. Tool calls and earlier turns are left out."
    )
    system, asked, answer, began = "", "", "", 0
    for place, turn in chain(turns, [(0, _END)]):
        if turn.role == "system":
            system = turn.text
        elif turn.role == "assistant":
            answer = turn.text or answer
        elif turn.role == "user" and turn.text.strip():
            if asked and answer:
                _count(prompts, system)
                yield began, _exchange(system, asked, answer)
                asked, answer = "", ""
            asked, began = f"{asked}\n\n{turn.text}" if asked else turn.text, place


def _exchange(system: str, asked: str, answer: str) -> dict[str, Any]:
    return {**({"system": system} if system else {}), "input": asked, "output": answer}


def _claude(rows: Iterator[Row], agent: bool) -> Iterator[tuple[int, Turn]]:
    """What people and the assistant said; not what tools, the program and (unless the session is
    an `agent`'s own) sub-agents did."""
    for place, row in rows:
        message = row.get("message")
        if not _is_side(row.get("type")) or not isinstance(message, dict):
            continue
        if row.get("isMeta") or row.get("isCompactSummary"):
            continue
        if row.get("isSidechain") and not agent:
            continue
        turn = _turn(message)
        if turn is not None:
            yield place, _said(turn)


def _codex(rows: Iterator[Row]) -> Iterator[tuple[int, Turn]]:
    for place, row in rows:
        payload = row["payload"] if isinstance(row.get("payload"), dict) else row
        if row.get("type") == "session_meta":
            told = payload.get("base_instructions") or payload.get("instructions")
            if text := _text(told):
                yield place, Turn("system", text)
            continue
        turn = _turn(payload) if payload.get("type") == "message" else None
        if turn is not None and turn.role != "system":  # a developer's turns are the program's own
            yield place, _said(turn)


def _bare(rows: Iterator[Row]) -> Iterator[tuple[int, Turn]]:
    for place, row in rows:
        if (turn := _turn(row)) is not None:
            yield place, turn


def _said(turn: Turn) -> Turn:
    """A turn without what the program put into it; empty if that is all."""
    if turn.role != "user":
        return turn
    first, *rest = turn.text.split(_REMINDER[0])
    text = first + "".join(part.partition(_REMINDER[1])[2] for part in rest)
    return Turn(turn.role, "" if _MACHINE.fullmatch(text.strip()) else text)


def _count(prompts: Counter[str], prompt: Any) -> None:
    if isinstance(prompt, str) and prompt.strip():
        prompts[prompt] += prompt in prompts or len(prompts) < _PROMPTS


def _say_prompt(reading: Reading, prompts: Counter[str]) -> None:
    """Name the prompt that the conversations were held under."""
    if not prompts:
        return
    prompt, count = prompts.most_common(1)[0]
    others = f", {len(prompts) - 1} others in the rest" if len(prompts) > 1 else ""
    reading.say(
        f"{UNDER_IMPROVEMENT} seems to be the field system: it is the same in {count} of "
        f"{prompts.total()} rows ({shown(prompt.strip())}{others}). To improve it, give that text: "
        "create_variable(session_id, role='system prompt', value=...)."
    )
