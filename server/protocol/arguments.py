"""Arguments as hosts send them: the one place that all of them pass on their way to a tool.

Hosts in strict mode send null, "" or "null" for what the model left out; some send lists and
objects as JSON text, or fields of their own beside ours. Here such shapes become what is meant.
What a person may have meant as a text stays one, and a name that is nearly one of ours is a slip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...schemas.arguments.shapes import Shape
from ...schemas.errors import BadInput
from ...schemas.near import did_you_mean, nearest
from ...schemas.text import cleaned, unusable
from . import shapes

TEXTS = frozenset({Shape.TEXT, Shape.ANY_TEXT})
"""Texts of their own, taken as they are."""
LISTS: Mapping[Shape | None, Callable[[Any], Any]] = {
    Shape.IDS: shapes.as_ids,
    Shape.LINES: shapes.as_lines,
    Shape.INPUTS: shapes.as_inputs,
    Shape.EXAMPLES: shapes.as_examples,
    Shape.ROWS: shapes.as_rows,
}
_INSTEAD = {"value": ("file", "example_field", "demonstrations"), "examples": ("path",)}
"""What is given instead of an argument, which is then left out if it holds nothing."""
HOSTS = frozenset(
    name.casefold().replace("_", "")
    for name in (
        *("toolCallId", "tool_name", "tool_use_id", "callId", "requestId", "messageId", "threadId"),
        *("sessionId", "conversationId", "runId", "userId", "chatInput", "action", "chatId"),
        *("meta", "metadata", "progressToken", "requestHeartbeat", "heartbeat", "innerThoughts"),
        *("thinking", "thought", "thoughts", "reason", "reasoning", "explanation", "rationale"),
        *("random_string", "dummy", "dummyParam", "placeholder", "no_params", "unused", "tool"),
        *("kwargs", "args", "config", "runManager", "callbacks", "security_risk", "summary"),
        *("waitForPreviousTools", "toolSummary", "toolAction", "taskProgress", "intent"),
    )
)
"""Fields that known hosts add to every call, in small letters and without underscores."""
_WRAPPED = ("kwargs", "args", "arguments", "parameters", "params", "input")
_LIKE = 0.75
MOST = 10_000
"""Entries of a list or object that is no table."""
_NAMED = 5
_STRANGE = 50
_LONGEST = 100  # characters of a strange name that are quoted


class ArgumentReader:
    """Reads the arguments of one tool by its `schema`, and by what its arguments are."""

    def __init__(
        self, tool: str, schema: Mapping[str, Any], shapes: Mapping[str, Shape | None]
    ) -> None:
        self._tool, self._shapes = tool, shapes
        self._known: dict[str, dict[str, Any]] = schema.get("properties", {})
        self._required = frozenset(schema.get("required", ()))

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Clean arguments, and notes on what was not used. Raises BadInput."""
        try:
            return self._read(given)
        except RecursionError as error:
            raise BadInput("An argument is nested too deeply.", "Give it flatter.") from error

    def _read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        given = self._unwrapped(given)
        aside = self._aside(given)
        notes = (
            [f"Not used, since {self._tool} has no such argument: {', '.join(aside)}."]
            if aside
            else []
        )
        kept = {k: v for k, v in given.items() if k in self._known and not self._left_out(k, v)}
        for name, others in _INSTEAD.items():
            if shapes.is_nothing(kept.get(name)) and any(other in kept for other in others):
                kept.pop(name, None)
        self._limit(kept)
        clean = {name: self._clean(name, value, notes) for name, value in kept.items()}
        if clean.get("operation") != "external" and shapes.is_nothing(kept.get("output")):
            clean.pop("output", None)
        self._check(clean)
        if given.get("session_id") is not None and "session_id" not in clean:
            self._check_empty(given, notes)
        return clean, notes

    def _check_empty(self, given: Mapping[str, Any], notes: list[str]) -> None:
        """Raises BadInput for an empty session_id where leaving it out would start a session: it
        is hardly ever meant so, unless a host fills in other arguments with nothing, too."""
        filled = [k for k, v in given.items() if k != "session_id" and shapes.is_nothing(v)]
        if "example_field" in self._known and not filled:
            raise BadInput(
                "The session_id is empty.",
                "Give the one that the text belongs to (inspect() lists them); to start a new "
                "session, leave it out, or give null.",
            )
        notes.append("The session_id was empty, so it counts as left out.")

    def _unwrapped(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments in the one object that a host put all of them into."""
        if len(given) != 1 or next(iter(given)) in self._known:
            return given
        [(name, inner)] = given.items()
        inner = shapes.decoded(inner)
        ours = isinstance(inner, dict) and inner and inner.keys() <= self._known.keys()
        return inner if name in _WRAPPED and ours else given

    def _aside(self, given: Mapping[str, Any]) -> list[str]:
        """Names that a host adds and that are not used. Raises BadInput for any other strange one,
        with the name that was meant."""
        strange = [name for name in given if name not in self._known]
        few = len(strange) <= _STRANGE  # more is nothing that a host would add
        wrong = [name for name in strange if not (few and self._is_hosts(name, given))]
        if wrong:
            hints = [
                f"{name!r} is no argument of {self._tool}.{did_you_mean(name, self._known)}"
                for name in (one[:_LONGEST] for one in wrong[:_NAMED])
            ]
            more = [f"So are {len(wrong) - _NAMED} others."] if len(wrong) > _NAMED else []
            raise BadInput(" ".join(hints + more), f"It takes {', '.join(self._known)}.")
        return strange[:_NAMED]

    def _is_hosts(self, name: str, given: Mapping[str, Any]) -> bool:
        plain = name.casefold().replace("_", "")
        same = [ours for ours in self._known if ours.replace("_", "") == plain]
        if same:  # one of ours in another spelling: a slip, unless the right one is there as well
            return plain in HOSTS and (same[0] in given or not _is_session(given[name]))
        if plain in HOSTS:
            return not (isinstance(given[name], dict) and given[name].keys() & self._known.keys())
        return name.startswith("_") and not self._is_like(name.lstrip("_"))

    def _is_like(self, name: str) -> bool:
        return nearest(name, self._known, _LIKE) is not None

    def _left_out(self, name: str, value: Any) -> bool:
        if value is None:
            return True
        if name in self._required or (self._is_table(name) and "prompt" not in self._known):
            return False
        if self._shapes.get(name) is Shape.ANY_TEXT:
            return name != "value" and value == ""
        return shapes.is_nothing(value)

    def _is_table(self, name: str) -> bool:
        return self._shapes.get(name) is Shape.ROWS

    def _clean(self, name: str, value: Any, notes: list[str]) -> Any:
        shape = self._shapes.get(name)
        if shape is Shape.COMPLETIONS:
            answers, said = shapes.as_completions(value)
            notes += said
            return cleaned(answers)  # paid for, so never lost for a character
        if shape in LISTS:
            return LISTS[shape](value)
        return self._single(name, value, notes)

    def _single(self, name: str, value: Any, notes: list[str]) -> Any:
        """A value that is no list: a text, an id, a choice, a number, an object."""
        schema, shape = self._known[name], self._shapes.get(name)
        if shape in TEXTS:
            if isinstance(value, list | dict):
                notes.append(f"{name} was given as JSON; its text was taken.")
            return shapes.as_text(value)
        if schema.get("type") == "object":
            return _without_nothing(shapes.as_object(value), schema)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if "enum" in schema:
            return shapes.as_choice(value, schema["enum"])
        if name == "metric" and isinstance(value, str):
            return shapes.bare_id(value).casefold().replace(" ", "_").replace("-", "_")
        if isinstance(value, str):
            return shapes.bare(value) if shape is Shape.NAME else shapes.bare_id(value)
        named = shape in (Shape.ID, Shape.NAME) and "anyOf" not in schema
        return _as_id(value) if named else value

    def _limit(self, given: Mapping[str, Any]) -> None:
        """Raises BadInput for more entries than are worth a look; a table has limits of its own."""
        for name, value in given.items():
            many = isinstance(value, list | dict) and len(value) > MOST
            if many and not self._is_table(name):
                raise BadInput(
                    f"{name} has {len(value):,} entries; at most {MOST:,} are taken.", "Give fewer."
                )

    def _check(self, clean: Mapping[str, Any]) -> None:
        """Raises BadInput for what cannot be stored; the rows of a table are checked one by one,
        off the event loop."""
        self._limit(clean)
        for name, value in clean.items():
            if not self._is_table(name) and (why := unusable(value)):
                raise BadInput(f"{name} {why}.", "Remove it.")


def _without_nothing(value: Any, schema: Mapping[str, Any]) -> Any:
    """An object without the entries that were left out."""
    if not isinstance(value, dict):
        return value
    numbers = schema.get("additionalProperties") == {"type": "number"}
    return {
        k: v for k, v in value.items() if v is not None and not (numbers and shapes.is_nothing(v))
    }


def _as_id(value: Any) -> Any:
    """A number where a name is wanted, as text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_session(value: Any) -> bool:
    return isinstance(value, str) and shapes.bare_id(value).startswith("tg_")
