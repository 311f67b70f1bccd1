"""Slips in a reply's keys and values that leave no doubt about what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_NUMBER = r"[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+)"
_SCORE = re.compile(
    rf"(?:score|rating|grade)?\s*[:=]?\s*(?P<is>{_NUMBER}(?:e[+-]?\d{{1,3}})?)"
    rf"\s*(?:(?P<percent>%|percent|per cent)|(?:/|out of|of)\s*(?P<of>{_NUMBER}))?\.?",
    re.ASCII | re.IGNORECASE,
)
_THOUSANDS = re.compile(r",\d{3}\b")
_NOTHING = frozenset({"", "null", "none", "n/a"})


def plain(key: str) -> str:
    """A key without what does not matter in it: capitals, spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+", "", key).casefold()


def by_known_keys(found: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What `found` has under each of the `known` keys, however they are spelt; no other keys.

    Where two keys would do and neither is exact, there is doubt, and it has none.
    """
    named: dict[str, Any] = {}
    for key in known:
        close = [k for k in found if plain(k) == plain(key)]
        if key in found:
            named[key] = found[key]
        elif len(close) == 1:
            named[key] = found[close[0]]
    return named


def mended(value: Any, schema: Mapping[str, Any], *, prose: bool = True) -> Any:
    """`value` as `schema` wants it, where there is no doubt how; else as it is.

    A number in words ("8/10", "80%", "0.8"), 3.0 for an integer, a list of lines for a text, one of
    the choices in other letters, nothing for an empty text. `prose`: a text is read by people, and
    may come in parts with headings.
    """
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "null" in kinds and (value is None or _is_nothing(value)):
        return None
    if "number" in kinds:
        return _number(_alone(value))
    if "integer" in kinds:
        number = _number(value, shares=False)
        return int(number) if isinstance(number, float) and number.is_integer() else number
    if "array" in kinds and isinstance(value, list):
        return [mended(item, schema.get("items", {})) for item in value]
    if "string" in kinds:
        return _choice(value, schema["enum"]) if "enum" in schema else _text(value, prose)
    return value


def _is_nothing(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in _NOTHING


def _alone(value: Any) -> Any:
    """What a list or an object of one entry holds."""
    if isinstance(value, dict | list) and len(value) == 1:
        return next(iter(value.values() if isinstance(value, dict) else value))
    return value


def _number(value: Any, *, shares: bool = True) -> Any:
    read = _SCORE.fullmatch(value.strip()) if isinstance(value, str) else None
    if read is None or _THOUSANDS.search(value) or (not shares and (read["of"] or read["percent"])):
        return value
    number = _float(read["is"])
    if read["of"]:
        most = _float(read["of"])
        return number / most if most else value
    if read["percent"]:
        return number / 100
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _float(text: str) -> float:
    return float(text.replace(",", "."))


def _choice(value: Any, choices: list[Any]) -> Any:
    if not isinstance(value, str):
        return value
    said = value.strip(" .!\"'*`").casefold()
    fitting = [choice for choice in choices if str(choice).casefold() == said]
    return fitting[0] if len(fitting) == 1 else value


def _text(value: Any, prose: bool) -> Any:
    """A text; a list of texts has one on each line, and so has an object of them, with its keys."""
    if value is None:
        return ""
    if isinstance(value, list):
        return _lines([_text(item, prose) for item in value], value)
    if prose and isinstance(value, dict):
        parts = {key: _text(item, prose) for key, item in value.items()}
        return _lines([f"{k}: {v}" if isinstance(v, str) else v for k, v in parts.items()], value)
    return value


def _lines(texts: list[Any], value: Any) -> Any:
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else value
