"""Templates: text with `{name}` where an input goes, and any other brace left alone.

One pass over the template, so a value is never expanded again. `{name}` is replaced only where
`name` is known; JSON, LaTeX, code and unknown names stay as they are. Exactly doubled braces,
`{{name}}`, write the known name itself, `{name}`, as in Python's format strings: without that
rule a template could not talk about its own placeholders. Around anything else doubled braces
stay doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ..schemas.errors import BadInput

_NAME = r"[^\W\d]\w*"
_PLACE = re.compile(
    rf"(?<!{{){{{{(?P<literal>{_NAME})}}}}(?!}})"  # {{name}}, and not {{{name}}}
    rf"|{{(?P<name>{_NAME})}}"
)


def render(template: str, values: Mapping[str, str]) -> str:
    """`template` with each `{name}` of `values` replaced by its value, as it is."""

    def replaced(match: re.Match[str]) -> str:
        literal, name = match["literal"], match["name"]
        if literal is not None:
            return f"{{{literal}}}" if literal in values else match[0]
        return values.get(name, match[0])

    return _PLACE.sub(replaced, template)


def placeholders(template: str) -> list[str]:
    """The names in single braces, each once, in order of appearance."""
    names = (match["name"] for match in _PLACE.finditer(template))
    return list(dict.fromkeys(name for name in names if name is not None))


def check(template: str, names: Iterable[str]) -> list[str]:
    """Notes on placeholders that no input fills.

    Raises BadInput for an input that the template never uses, or whose name cannot stand in braces.
    """
    inputs, found = list(names), placeholders(template)
    for name in inputs:
        if not re.fullmatch(_NAME, name):
            raise BadInput(
                f"The input name {name!r} cannot be a placeholder.",
                "Name inputs like identifiers: letters, digits and _, no digit first.",
            )
    unused = [name for name in inputs if name not in found]
    if unused:
        raise BadInput(_unused(unused, found), "Use every input, or leave it out of inputs.")
    return _notes([name for name in found if name not in inputs], inputs)


def _unused(unused: list[str], found: list[str]) -> str:
    wanted = " and ".join(f"{{{name}}}" for name in unused)
    has = ", ".join(f"{{{name}}}" for name in found) or "no placeholder"
    return f"The template never uses {wanted}; it has {has} (single braces)."


def _notes(unknown: list[str], inputs: list[str]) -> list[str]:
    near = {name: get_close_matches(name, inputs, n=1, cutoff=0.6) for name in unknown}
    notes = [
        f"{{{name}}} is no input and is left as it is. Did you mean {{{close[0]}}}?"
        for name, close in near.items()
        if close
    ]
    plain = [f"{{{name}}}" for name, close in near.items() if not close]
    if plain:
        shown = ", ".join(plain[:5]) + (f" and {len(plain) - 5} more" if len(plain) > 5 else "")
        notes.append(f"No input, so left as it is: {shown}.")
    return notes
