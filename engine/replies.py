"""Replies of models: whole or refused.

A reply is read against the JSON schema that was asked for, as a person would: slips that leave no
doubt are mended. A cut-off, empty, refused or ill-formed one raises Malformed, whose reason goes
back to the model in one repair call; it never becomes a value.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from ..schemas.completions import Completion, CompletionRequest, Purpose
from ..schemas.errors import ReplyError
from ..schemas.text import cleaned, unstorable
from . import slips
from .endings import Ending, ending
from .lenient import ObjectReader, Unreadable

T = TypeVar("T")
Schema = dict[str, Any]
LONG = 50_000
"""Characters of a reply that is read off the event loop."""
_WORK_PER_CHAR = 20  # failed attempts at reading an object may cost so many passes over the reply
_WRAPPERS = frozenset(
    [
        *("answer", "arguments", "content", "data", "final", "json", "object", "output"),
        *("parameters", "properties", "reply", "response", "result", "results"),
    ]
)
_DEEPEST_WRAPPER = 3
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f]")


class Malformed(ReplyError):
    """A reply that cannot be used. `reason` tells the model that wrote it what to fix."""

    @property
    def reason(self) -> str:
        """What is wrong and what to write instead, in one or two sentences."""
        return self.message


def object_schema(fields: dict[str, Schema]) -> Schema:
    """The JSON schema of an object with exactly these fields, all required."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def check_completion(completion: Completion, *, needs_text: bool = True) -> None:
    """Raises Malformed for a completion that is refused, cut off, filtered, empty or unstorable.

    With `needs_text=False` an empty text is fine (an external function may print nothing).
    """
    if completion.refusal:
        raise Malformed(f"The model refused: {_cut(completion.refusal)}")
    match ending(completion.finish):
        case Ending.CUT if completion.reasoning and not completion.text.strip():
            raise Malformed("The reply was cut off at the token limit before the answer.", THINKING)
        case Ending.CUT:
            raise Malformed(
                "The reply was cut off at the token limit. Write a shorter, whole reply."
            )
        case Ending.WITHHELD:
            raise Malformed("The reply was withheld by the endpoint's content filter.")
        case Ending.FAILED:
            raise Malformed(f"The reply was broken off ({completion.finish}). Write it whole.")
    if needs_text and not completion.text.strip():
        raise _empty(completion)
    if unstorable(completion.text):
        raise Malformed("The reply holds a NUL or half of a character. Leave such characters out.")


THINKING = (
    "The model thought for as long as its reply may be: allow longer replies (max_tokens), or set "
    "params to think less (reasoning_effort)."
)
MISPLACED = (
    "inspect(what='call') shows it. If the answer stands in `reasoning`, the endpoint's reasoning "
    "parser took it for a thought (reasoning_content): start the endpoint without that parser, or "
    'switch thinking off in params ({"chat_template_kwargs": {"enable_thinking": false}}), and '
    "such a text is taken as the reply. Else allow longer replies (max_tokens)."
)


async def understood(
    request: CompletionRequest,
    completion: Completion,
    read: Callable[[Completion], T],
    look: Callable[[T], Awaitable[None]] | None,
) -> T:
    """What `read` makes of the completion of `request`, if it is whole, and `look` lets pass.

    A long one is read off the event loop. Raises Malformed.
    """
    check_completion(completion, needs_text=request.purpose is not Purpose.EXTERNAL)
    long = len(completion.text) > LONG
    found = await asyncio.to_thread(read, completion) if long else read(completion)
    if look is not None:
        await look(found)
    return found


def _empty(completion: Completion) -> Malformed:
    if completion.reasoning:
        return Malformed("The reply was reasoning alone: no answer came after it.", MISPLACED)
    if ending(completion.finish) is Ending.WHOLE and "tool" in completion.finish:
        return Malformed("The reply was a call of a tool, and none was offered. Write the text.")
    return Malformed("The reply was empty. Write the text that was asked for.")


def parse_object(
    text: str, schema: Schema, like: str | None = None, *, material: str = ""
) -> dict[str, Any]:
    """The last top-level JSON object in `text` that fits `schema`, with its keys alone.

    Prose and code fences around it, keys that nobody asked for, and slips that leave no doubt are
    tolerated (docs/endpoints.md lists them). A *broken* object with a key that was asked for, or
    one that is not closed, spoils the reply even if another one fits: the other may be a
    quotation inside it.
    `like` is the text that a new one is asked for: what it holds of control characters the new one
    may hold, and no others. `material` is what else was shown, and may be quoted. Raises Malformed.
    """
    problem = ""
    fitting: dict[str, Any] | None = None
    for found in _objects(text, schema, like or material):
        try:
            fitting = _fitted(found, schema, like)
        except Malformed as error:
            problem = error.reason
    if fitting is not None:
        return fitting
    if not problem and (inner := _unquoted(text)):
        return parse_object(inner, schema, like, material=material)
    raise Malformed(problem or f"No JSON object was found. {_wanted(schema)}")


def _objects(text: str, schema: Schema, like: str) -> Iterator[dict[str, Any]]:
    """Top-level JSON objects in order of appearance."""
    asked = {slips.plain(key) for key in schema.get("properties", {})}
    position, work, tried = 0, _WORK_PER_CHAR * len(text), False
    while (start := text.find("{", position)) >= 0 and work >= 0:
        reader = ObjectReader(text, start, like)
        position = start + 1
        if not reader.begins():
            work -= reader.at - start
            continue
        try:
            yield reader.read()
            position = reader.at
        except Unreadable as error:
            loose = None if tried else _with_quotes(text, start, schema, like)
            tried = True
            if loose is not None:
                yield loose
                return
            if error.cut or not asked.isdisjoint(map(slips.plain, reader.keys)):
                raise Malformed(_broken(text, start, error)) from error
            position = max(position, error.at)  # what it quotes is not looked at


def _with_quotes(text: str, start: int, schema: Schema, like: str) -> dict[str, Any] | None:
    """The object that ends the reply, if quotes within its texts are all that is wrong with it."""
    reader = ObjectReader(text, start, like, loose=True)
    try:
        found = reader.read()
    except Unreadable:
        return None
    said = "\n".join(value for value in found.values() if isinstance(value, str))
    quoted = any(re.search(rf'"{re.escape(key)}"\s*:', said) for key in schema["properties"])
    return None if quoted or text[reader.at :].strip(" \n\r\t`") else found


def _unquoted(text: str) -> str:
    """What a reply says that is a JSON object within a JSON string, or escaped as if it were."""
    inner = text.strip()
    if '{\\"' not in inner:
        return ""
    quoted = inner if inner[:1] == '"' and inner[-1:] == '"' else f'"{inner}"'
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return ""


def _broken(text: str, start: int, error: Unreadable) -> str:
    if error.cut:
        return "The JSON object is not closed: the reply is cut off, or a quote is missing."
    if error.whole:
        return f"The JSON object is {error}."
    near = _cut(text[max(start, error.at - 30) : error.at + 30], 60)
    return (
        f"The JSON object is broken ({error}) near: {near}\n"
        'Write quotes inside a string as \\" and backslashes as \\\\.'
    )


def _fitted(
    found: dict[str, Any], schema: Schema, like: str | None, depth: int = 0
) -> dict[str, Any]:
    """What `found` says by `schema`, or what is wrapped in it. Raises Malformed."""
    kinds, required = schema.get("properties", {}), schema.get("required", [])
    named = slips.by_known_keys(found, kinds)
    missing = [key for key in required if key not in named]
    if missing and depth < _DEEPEST_WRAPPER and (inner := _wrapped(found)) is not None:
        return _fitted(inner, schema, like, depth + 1)
    if missing:
        raise Malformed(_missing(missing, found, schema))
    value = {
        key: slips.mended(cleaned(item), kinds[key], prose=like is None)
        for key, item in named.items()
    }
    value = {k: v for k, v in value.items() if k in required or not _misfit(v, kinds[k])}
    problem = _misfit(value, schema) or _infinite(value) or _controls(value, like)
    if problem:
        raise Malformed(problem)
    return value


def _wrapped(found: dict[str, Any]) -> dict[str, Any] | None:
    """The one object that `found` is only a wrapper of, if it is."""
    chosen = [v for k, v in found.items() if len(found) == 1 or slips.plain(k) in _WRAPPERS]
    objects = [_as_object(v) for v in chosen]
    inner = [o for o in objects if o is not None]
    return inner[0] if len(inner) == 1 else None


def _as_object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and value.strip()[:1] == "{":
        reader = ObjectReader(value, value.index("{"))
        try:
            read = reader.read()
        except Unreadable:
            return None
        return None if value[reader.at :].strip() else read
    return value if isinstance(value, dict) else None


def _missing(missing: list[str], found: dict[str, Any], schema: Schema) -> str:
    known = schema.get("properties", {})
    extra = [key for key in found if key not in known]
    instead = f" It has {_listed(extra)}, which was not asked for." if extra else ""
    return f"The JSON object lacks {_listed(missing)}.{instead} {_wanted(schema)}"


def _misfit(value: Any, schema: Schema) -> str:
    # 0.1 s to import: only where a reply is read
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is None:
        return ""
    key = ".".join(str(step) for step in error.absolute_path) or "the object"
    return f"The value of {key} does not fit: {_cut(error.message)}."


def _infinite(value: Any) -> str:
    if isinstance(value, dict):
        return next(filter(None, map(_infinite, [*value, *value.values()])), "")
    if isinstance(value, list):
        return next(filter(None, map(_infinite, value)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "A number is too large. Write an ordinary number."
    return ""


def _controls(value: dict[str, Any], like: str | None) -> str:
    """A word on control characters that a rewrite would bring in: `\f` where `\\f` was meant."""
    if like is None:
        return ""
    texts = [text for text in value.values() if isinstance(text, str)]
    new = {mark for text in texts for mark in _CONTROL.findall(text)} - set(like)
    if not new:
        return ""
    codes = ", ".join(f"U+{ord(mark):04X}" for mark in sorted(new))
    return f"A string holds a control character ({codes}). Write a backslash as \\\\ there."


def _wanted(schema: Schema) -> str:
    keys = ", ".join(f'"{key}": …' for key in schema.get("properties", {}))
    return f"Reply with one JSON object of the form {{{keys}}} and nothing else."


def _listed(keys: list[str]) -> str:
    shown = ", ".join(f'"{_cut(key, 40)}"' for key in keys[:8])
    return shown + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")


def _cut(text: str, length: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
