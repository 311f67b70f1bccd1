"""A result as text: the same facts as the structured content, compact and readable."""

from __future__ import annotations

from typing import Any

from ...schemas.results import Result

IDS = 60
"""Ids in one list of a result."""
LONG = 100
"""Characters from which a passage is worth a reference to where it stood already."""
_SHOWN = 20
"""Characters of such a passage that the reference shows."""
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


def render(data: dict[str, Any]) -> str:
    """`data` as indented `key: value` lines; nothing of it is left out.

    A long passage that several pending prompts share stands in the first of them.
    """
    if isinstance(pending := data.get("pending"), list):
        data = data | {"pending": _said_once(pending)}
    return "\n".join(_lines(data, ""))


def _said_once(pending: list[Any]) -> list[Any]:
    """Prompts, with each long passage that stands in an earlier one replaced by where that is."""
    known = _Known()
    shown = []
    for one in pending:
        if isinstance(one, dict):
            name = str(one.get("id"))
            texts = {k: v for k, v in one.items() if k in _PROMPTS and isinstance(v, str)}
            one = one | {k: known.shortened(v) for k, v in texts.items()}
            for key, value in texts.items():
                known.add(f"{name}'s {key}", value)
        shown.append(one)
    return shown


class _Known:
    """Prompts that stood before, and their lines: at which place, and which line of it."""

    def __init__(self) -> None:
        self._whole: dict[str, str] = {}
        self._texts: dict[str, list[str]] = {}
        self._first: dict[str, tuple[str, int]] = {}

    def add(self, place: str, text: str) -> None:
        """Remember a text; of equal lines the first stands for all."""
        self._whole.setdefault(text, place)
        self._texts[place] = text.split("\n")
        for n, line in enumerate(self._texts[place]):
            self._first.setdefault(line, (place, n))

    def shortened(self, text: str) -> str:
        """`text` with each long passage that is known, word for word, replaced by its place."""
        lines, out, n = text.split("\n"), list[str](), 0
        if (whole := self._whole.get(text)) and len(text) > LONG:
            return f"[as {whole}]"
        while n < len(lines):
            count, place = self._passage(lines, n)
            size = sum(map(len, lines[n : n + count])) + count - 1
            if size > LONG:
                first = lines[n] if len(lines[n]) <= _SHOWN else f"{lines[n][:_SHOWN]}…"
                out.append(f"[{size} characters as in {place}: {first}]")
                n += count
            else:
                out.append(lines[n])
                n += 1
        return "\n".join(out)

    def _passage(self, lines: list[str], start: int) -> tuple[int, str]:
        """How many lines from `start` on stand in the same order somewhere, and where."""
        place, at = self._first.get(lines[start], ("", 0))
        there, count = self._texts.get(place, []), 0
        most = min(len(there) - at, len(lines) - start)
        while count < most and there[at + count] == lines[start + count]:
            count += 1
        return count, place


def _lines(data: dict[str, Any], indent: str) -> list[str]:
    out: list[str] = []
    for key, value in data.items():
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
