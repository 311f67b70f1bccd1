"""One value in the shapes that hosts and models give it: as JSON text, in quotes, alone where a
list is wanted, as a list of pairs where an object is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ..schemas.errors import BadInput

NOTHING = frozenset({"", "null", "none", "undefined", "nil", "(none)", "(null)"})
"""Texts that stand for an argument that was left out."""
SPLITS = frozenset({"train", "validation", "test"})
_SHORTEST, _LONGEST = 20, 1000
"""Characters: what stands for nothing has fewer, no name has more."""
_SPACE = " \t\r\n\f\v\xa0\u200b\u200c\u200d\u2060\ufeff"
_QUOTES = "'\"`\u201c\u201d\u2018\u2019\u00ab\u00bb"
_BRACKETS = {("<", ">"), ("(", ")"), ("[", "]"), ("{", "}")}
_ENDS = ".,;:!?"
_SHORT = r"(?:op|[vecgspr])\d+"
_ID = re.compile(rf"{_SHORT}(?:@\d+(?:\.\.\d+)?)?", re.IGNORECASE | re.ASCII)
_CALL = re.compile(r"c\d+", re.ASCII)
_EXAMPLE = re.compile(r"e\d+", re.ASCII)
_LABEL = re.compile(rf"({_SHORT})\s+\(.*\)", re.IGNORECASE | re.ASCII | re.DOTALL)
_TIMES = 3
"""How often a value may have been encoded."""
_SAID = 20
"""Names that a note holds at most."""
_IDS = ("id", "call", "call_id", "pending_id", "key", "name")
_ANSWERS = ("text", "completion", "content", "answer", "output", "response", "reply", "result")
_PLAIN = _ANSWERS[:3]
"""What an answer may be wrapped in; the rest could be the answer's own words."""
_ASIDE = frozenset(
    {"id", "role", "type", "purpose", "explanation", "reason", "reasoning", "model", "index"}
)
_VALUES = ("value", "variable", "id", "text")


def is_nothing(value: Any) -> bool:
    """Whether a value stands for one that was left out."""
    items = value if isinstance(value, list) else [value]
    return all(_is_nothing(item) for item in items)


def _is_nothing(item: Any) -> bool:
    if isinstance(item, str):
        text = item.strip(_SPACE)
        return len(text) < _SHORTEST and text.casefold() in NOTHING
    return item is None or item == {}


def decoded(value: Any) -> Any:
    """A value out of its JSON text, however often it was encoded; a text that is none as it is."""
    for _ in range(_TIMES):
        if not isinstance(value, str) or value.strip(_SPACE)[:1] not in ("[", "{", '"'):
            return value
        try:
            value = json.loads(value.strip(_SPACE))
        except (ValueError, RecursionError):
            return value
    return value


def bare(text: str) -> str:
    """A name without spaces and quotation marks around it; what is too long for one as it is."""
    if len(text) > _LONGEST:
        return text
    while True:
        before, text = text, text.strip(_SPACE)
        if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
            text = text[1:-1]
        if text == before:
            return text


def bare_id(text: str) -> str:
    """An id without quotes, brackets and punctuation around it, in small letters; of a label such
    as `v1 (the prompt)` the id. A text that holds no more than these stays as it is."""
    found = text
    while len(text) <= _LONGEST:
        before, found = found, bare(found).rstrip(_ENDS)
        if len(found) > 1 and (found[0], found[-1]) in _BRACKETS:
            found = found[1:-1]
        if found == before:
            break
    label = _LABEL.fullmatch(found)
    found = label[1] if label else found
    plain = _ID.fullmatch(found) or found.casefold() in SPLITS
    return (found.lower() if plain else found) or text


def as_text(value: Any) -> Any:
    """A number, a truth value, a list or an object as its JSON text; a text as it is."""
    if isinstance(value, str) or value is None:
        return value
    return json.dumps(value, ensure_ascii=False)


def as_choice(value: Any, choices: Iterable[str]) -> Any:
    """One of `choices`, however it is written; anything else as it is."""
    if not isinstance(value, str):
        return value
    wanted = re.sub(r"[\s-]+", "_", bare_id(value)).casefold()
    return next((choice for choice in choices if choice.casefold() == wanted), value)


def as_ids(value: Any) -> Any:
    """A list of ids: out of JSON text, of ids with commas or spaces between them, or of one."""
    value = decoded(value)
    if isinstance(value, str):
        inner = value.strip(_SPACE + "[]")
        spaced = inner.split()
        ids = spaced and all(_ID.fullmatch(bare_id(part)) for part in spaced)
        value = spaced if ids else re.split(r"[,;\n]", inner)
    if isinstance(value, int | float):
        value = [str(value)]
    if not isinstance(value, list):
        return value
    return [bare_id(v) if isinstance(v, str) else v for v in value if not is_nothing(v)]


def as_lines(value: Any) -> Any:
    """A list of texts: out of JSON text, or of one."""
    value = decoded(value)
    items = value if isinstance(value, list) else [value]
    return [as_text(item) for item in items if not is_nothing(item)]


def as_examples(value: Any) -> Any:
    """Ids of examples, or a split's name."""
    found = as_ids(value)
    alone = isinstance(found, list) and len(found) == 1 and isinstance(found[0], str)
    return found[0] if alone and found[0] in SPLITS else found


def as_rows(value: Any) -> Any:
    """Rows: a list of objects, a text that holds them, or objects by the ids of examples."""
    if isinstance(value, str) and not value.lstrip(_SPACE).startswith('"'):
        return value
    found = decoded(value)
    if isinstance(found, dict) and found and all(map(_EXAMPLE.fullmatch, map(bare_id, found))):
        return {bare_id(name): row for name, row in found.items()}
    if isinstance(found, dict):
        return json.dumps(found, ensure_ascii=False)
    if isinstance(found, list) and found and all(isinstance(row, str) for row in found):
        return "\n".join(found)
    return found


def as_object(value: Any) -> Any:
    """An object: out of JSON text, or of a list of pairs."""
    value = decoded(value)
    if not isinstance(value, list):
        return value
    found: dict[str, Any] = {}
    for item in value:
        pair = _pair(item)
        if pair is None:
            return value
        found[pair[0]] = pair[1]
    return found


def _pair(item: Any) -> tuple[str, Any] | None:
    if not isinstance(item, dict):
        return None
    if len(item) == 1:
        return next(iter(item.items()))
    name = next((k for k in ("name", "key") if isinstance(item.get(k), str)), None)
    value = next((k for k in _VALUES if k in item and k != name), None)
    return None if name is None or value is None else (item[name], item[value])


def as_inputs(value: Any) -> Any:
    """Names with ids of variables."""
    found = as_object(value)
    if not isinstance(found, dict):
        return found
    return {
        name.strip(_SPACE): bare_id(v) if isinstance(v, str) else v for name, v in found.items()
    }


def as_completions(value: Any) -> tuple[dict[str, Any], list[str]]:
    """Answers by id, and notes on what was made of them. Raises BadInput."""
    found = decoded(value)
    if isinstance(found, dict) and set(found) == {"completions"}:
        found = decoded(found["completions"])
    taken: dict[str, Any] = {}
    unwrapped = []
    for call, given in _answers(found):
        key = bare_id(call)
        answer = _answer(given, _PLAIN)
        if key in taken and taken[key] != answer:
            raise BadInput(f"There are two answers for {key}.", "Give one for each pending id.")
        taken[key] = answer
        unwrapped += [key] if answer is not given else []
    answers = {key: answer for key, answer in taken.items() if answer is not None}
    aside = [key for key in answers if not _CALL.fullmatch(key)]
    notes = [f"Taken out of an object: the text of {', '.join(unwrapped[:_SAID])}."]
    if len(aside) == len(answers):  # nothing is an id: the engine says what one looks like
        return answers, notes if unwrapped else []
    said = [f"No pending id, and not used: {', '.join(map(repr, aside[:_SAID]))}."]
    kept = {key: answer for key, answer in answers.items() if key not in aside}
    return kept, (notes if unwrapped else []) + (said if aside else [])


def _answers(found: Any) -> list[tuple[str, Any]]:
    if isinstance(found, dict):
        return list(found.items())
    pairs = [_called(item) for item in found] if isinstance(found, list) else [None]
    if None in pairs:
        raise BadInput(
            "completions does not say which pending id each answer is for.",
            'Give them by id: completions={"c1": "...", "c2": "..."}.',
        )
    return [pair for pair in pairs if pair is not None]


def _called(item: Any) -> tuple[str, Any] | None:
    """The id and the answer in one entry of a list."""
    item = decoded(item)
    if not isinstance(item, dict):
        return None
    if len(item) == 1:
        return next(iter(item.items()))
    key = next((k for k in _IDS if isinstance(item.get(k), str)), None)
    if key is None:
        return None
    return item[key], _answer({k: v for k, v in item.items() if k != key}, _ANSWERS)


def _answer(given: Any, names: tuple[str, ...]) -> Any:
    """What is given, or the text in it if it is an object that holds nothing else of weight."""
    if not isinstance(given, dict):
        return given
    weighty = [key for key in given if key not in _ASIDE]
    if len(weighty) != 1 or weighty[0] not in names:
        return given
    text = given[weighty[0]]
    if isinstance(text, list):  # a message's content in blocks
        parts = [part.get("text") if isinstance(part, dict) else part for part in text]
        texts = [part for part in parts if isinstance(part, str)]
        text = "\n".join(texts) if len(texts) == len(parts) else None
    return text if isinstance(text, str) else given
