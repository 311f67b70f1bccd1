"""Templates: text with `{name}` where an input goes, and any other brace left alone.

One pass over the template, so a value is never expanded again. `{name}` is replaced only where
`name` is known; JSON, LaTeX, code and unknown names stay as they are. Exactly doubled braces,
`{{name}}`, write the known name itself, `{name}`, as in Python's format strings: without that
rule a template could not talk about its own placeholders. Around anything else doubled braces
stay doubled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping

from ..schemas.errors import BadInput, TooLong
from ..schemas.near import nearest

PLACES = 1_000, 20_000
"""In one template: places where inputs go, and placeholders of all kinds."""
NOTED = 5
"""So many unknown placeholders are named."""
_NAME = r"[^\W\d]\w*"
_PLACE = re.compile(
    rf"(?<!{{){{{{(?P<literal>{_NAME})}}}}(?!}})"  # {{name}}, and not {{{name}}}
    rf"|{{(?P<name>{_NAME})}}"
)


def render(template: str, values: Mapping[str, str], most: int | None = None) -> str:
    """`template` with each `{name}` of `values` replaced by its value, as it is.

    Raises TooLong, before anything is built, where it would have more than `most` characters.
    """
    parts, end = [], 0
    for match in _PLACE.finditer(template):
        parts += [template[end : match.start()], _replaced(match, values)]
        end = match.end()
    parts.append(template[end:])
    size = sum(map(len, parts))
    if most is not None and size > most:
        raise TooLong(
            f"The template makes a text of {size:,} characters here; at most {most:,} are taken.",
            "Use shorter inputs, or use them less often.",
        )
    return "".join(parts)


def _replaced(match: re.Match[str], values: Mapping[str, str]) -> str:
    literal, name = match["literal"], match["name"]
    if literal is not None:
        return f"{{{literal}}}" if literal in values else match[0]
    return values.get(name, match[0])


def placeholders(template: str) -> list[str]:
    """The names in single braces, each once, in order of appearance."""
    names = (match["name"] for match in _PLACE.finditer(template))
    return list(dict.fromkeys(name for name in names if name is not None))


def check(template: str, names: Iterable[str]) -> list[str]:
    """Notes on placeholders that no input fills.

    Raises BadInput for an input that the template never uses, or whose name cannot stand in braces,
    and where there are too many.
    """
    inputs = dict.fromkeys(names)
    found = _counted(template, inputs)
    for name in inputs:
        if not re.fullmatch(_NAME, name):
            raise BadInput(
                f"The input name {name!r} cannot be a placeholder.",
                "Name inputs like identifiers: letters, digits and _, no digit first.",
            )
    unused = [name for name in inputs if name not in found]
    if unused:
        raise BadInput(_unused(unused, list(found)), "Use every input, or leave it out of inputs.")
    return _notes([name for name in found if name not in inputs], list(inputs))


def _counted(template: str, inputs: Container[str]) -> Mapping[str, int]:
    """How often each placeholder stands there. Raises BadInput for too many."""
    found: Counter[str] = Counter()
    filled, every = 0, 0
    for match in _PLACE.finditer(template):
        if (name := match["name"]) is None:
            continue
        found[name] += 1
        filled += name in inputs
        every += 1
        if filled > PLACES[0] or every > PLACES[1]:
            raise BadInput(
                f"The template has more than {PLACES[0]:,} places for its inputs, or more than "
                f"{PLACES[1]:,} placeholders in all.",
                "Put long lists together outside, and give them as one input.",
            )
    return found


def _unused(unused: list[str], found: list[str]) -> str:
    wanted = " and ".join(f"{{{name}}}" for name in unused)
    has = ", ".join(f"{{{name}}}" for name in found[:100]) or "no placeholder"
    return f"The template never uses {wanted}; it has {has} (single braces)."


def _notes(unknown: list[str], inputs: list[str]) -> list[str]:
    near = {name: nearest(name, inputs, cutoff=0.6) for name in unknown[: 4 * NOTED]}
    notes = [
        f"{{{name}}} is no input and is left as it is. Did you mean {{{close}}}?"
        for name, close in near.items()
        if close
    ]
    plain = [f"{{{name}}}" for name in unknown if not near.get(name)]
    if plain:
        more = f" and {len(plain) - NOTED} more" if len(plain) > NOTED else ""
        notes.append(f"No input, so left as it is: {', '.join(plain[:NOTED])}{more}.")
    return notes
