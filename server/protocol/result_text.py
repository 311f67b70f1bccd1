"""A result as text: the same facts as the structured content, compact and readable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...schemas.results import Result
from .passages import Passages

IDS = 60
"""Ids in one list of a result."""
_PROMPTS = ("system", "prompt")


def facts(result: Result) -> dict[str, Any]:
    """The structured content: what the call found, without empty fields; `status` always.

    Of long lists of ids the first are named, and a note says how many there are.
    """
    dumped: dict[str, Any] = {"session_id": result.session_id, "status": result.status}
    dumped |= result.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    long = {k: v for k, v in dumped.items() if _is_long_list(v) and k != "notes"}
    if long:
        said = [f"{IDS} of {len(ids)} {name} are named." for name, ids in long.items()]
        dumped |= {name: ids[:IDS] for name, ids in long.items()}
        dumped["notes"] = [*dumped.get("notes", []), *said]
    return {k: v for k, v in dumped.items() if v not in (None, "", [], {}) or k == "status"}


def _is_long_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > IDS and all(isinstance(v, str) for v in value)


def render(data: dict[str, Any], known: Sequence[tuple[str, str]] = ()) -> str:
    """`data` as indented `key: value` lines; nothing of it is left out.

    A long passage of a pending prompt that stands further up, or in what its reader has `known`
    before (texts by what they are called), is replaced by where that is.
    """
    if isinstance(pending := data.get("pending"), list):
        passages = Passages()
        for place, text in known:
            passages.add(place, text)
        data = data | {"pending": [_said_once(one, passages) for one in pending]}
        if passages.referred:
            whole = f"resume(session_id='{data.get('session_id')}') shows the page whole."
            data["next"] = f"{data.get('next', '')} [...] you have read before; {whole}"
    return "\n".join(_lines(data, ""))


def _said_once(one: Any, passages: Passages) -> Any:
    """A prompt, with each long passage that is known replaced by where it stands."""
    if not isinstance(one, dict):
        return one
    whole = str(one.get("purpose")).startswith("external")  # it is run, so it must be all there
    texts = {k: v for k, v in one.items() if k in _PROMPTS and isinstance(v, str)}
    shown = {k: f"{one.get('id')}'s {k}" for k in texts}
    if whole:
        for k, place in shown.items():
            passages.keep(place, texts[k])
        return one
    return one | {k: passages.shortened(texts[k], place) for k, place in shown.items()}


def _lines(data: dict[str, Any], indent: str) -> list[str]:
    out: list[str] = []
    for key, value in data.items():
        if value == []:  # says nothing
            continue
        if isinstance(value, dict):
            out += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
            out.append(f"{indent}{key}:")
            for item in value:
                out += _item(item, indent + "  ")
        elif key == "notes" and isinstance(value, list) and len(value) > 1:
            out.append(f"{indent}{key}:")
            for note in value:
                out += _scalar("-", _word(note), indent + "  ")
        elif isinstance(value, list):
            out += _scalar(key, ", ".join(map(_word, value)), indent)
        else:
            out += _scalar(key, _word(value), indent)
    return out


def _item(item: Any, indent: str) -> list[str]:
    if isinstance(item, list):
        return [f"{indent}-", *(line for one in item for line in _item(one, indent + "  "))]
    if not isinstance(item, dict):
        return _scalar("-", _word(item), indent)
    lines = _lines(item, indent + "  ")
    if lines:
        lines[0] = f"{indent}- {lines[0].lstrip()}"
    return lines


def _scalar(key: str, value: str, indent: str) -> list[str]:
    if "\n" not in value:
        return [f"{indent}{key} {value}" if key == "-" else f"{indent}{key}: {value}"]
    return [f"{indent}{key}: |", *(f"{indent}  {line}" for line in value.split("\n"))]


def _word(value: Any) -> str:
    return (
        {True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )
