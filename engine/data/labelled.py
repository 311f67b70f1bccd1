"""A table for one prompt: which fields it is given, and which holds the right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ...schemas.errors import BadInput
from ...schemas.near import did_you_mean
from .reading import listed, shown

Row = dict[str, str]
ANSWERS = ("answer", "label", "expected", "target", "reference", "solution", "gold", "category")
"""Fields that hold the right answer, by their names."""
OUTPUTS = ("output", "completion", "response")
"""Fields that may hold it, too; in a log they hold what was answered, which nobody is given."""
LOGGED = "system"
"""The field of a log that holds the prompt."""


@dataclass
class Table:
    """Rows for one prompt: the fields that it is given, and the one with the right answer."""

    prompt: str
    rows: list[Row]
    inputs: list[str]
    answer: str | None
    notes: list[str] = field(default_factory=list)


def table_of(
    rows: Sequence[Row],
    prompt: str | None,
    answer: str | None,
    fields: Sequence[str] | None,
    *,
    compared: bool,
) -> Table:
    """The rows with what their fields are. `compared`: outputs are compared with an answer.

    Without a `prompt`, the one that most of the rows were logged under. Raises BadInput for what
    cannot be told, or is not there.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_there(names, [*(fields or []), *([answer] if answer else [])])
    notes: list[str] = []
    if prompt is None:
        prompt, rows = _logged(rows, notes)
    chosen = answer or _answer(rows, names, fields, notes, compared=compared)
    rest = [n for n in names if n != chosen]
    inputs = list(fields or [n for n in rest if n.casefold() not in (LOGGED, *OUTPUTS)] or rest)
    if chosen in inputs:
        raise BadInput(
            f"{chosen!r} is the right answer, which the prompt must not see.",
            "Leave it out of fields.",
        )
    if not inputs:
        raise BadInput(
            f"The examples have no field but {chosen!r}: there is nothing to give to the prompt.",
            "Give rows such as {'question': '...', 'answer': '...'}.",
        )
    unused = [n for n in names if n not in (*inputs, chosen)]
    if unused:
        notes.append(f"Not used of the examples: {listed(unused)}.")
    return Table(prompt, list(rows), inputs, chosen, notes)


def _check_there(names: Collection[str], asked: Sequence[str]) -> None:
    for name in asked:
        if name not in names:
            raise BadInput(
                f"The examples have no field {name!r}.{did_you_mean(name, names)}",
                f"They have {listed(names)}.",
            )


def _logged(rows: Sequence[Row], notes: list[str]) -> tuple[str, Sequence[Row]]:
    """The prompt that most rows were logged under, and these rows. Raises BadInput."""
    prompts = Counter(row[LOGGED] for row in rows if row.get(LOGGED, "").strip())
    if not prompts:
        raise BadInput(
            "There is no prompt to improve: none was given, and the examples have no field "
            f"{LOGGED!r} that holds it.",
            "Give prompt: the text as it is now.",
        )
    prompt, count = prompts.most_common(1)[0]
    notes.append(
        f"The prompt was taken from the field {LOGGED!r} of {count} of {len(rows)} examples "
        f"({shown(prompt)}); those under another are left out."
    )
    return prompt, [row for row in rows if row.get(LOGGED) == prompt]


def _answer(
    rows: Sequence[Row],
    names: Sequence[str],
    fields: Sequence[str] | None,
    notes: list[str],
    *,
    compared: bool,
) -> str | None:
    """The field with the right answer, by its name; of two fields, the last. Raises BadInput."""
    free = [n for n in names if n not in (fields or ()) and n != LOGGED]
    known = [n for n in free if n.casefold() in (ANSWERS + OUTPUTS if compared else ANSWERS)]
    if len(known) == 1:
        return known[0]
    if not compared:
        return None
    if not known and len(free) == (1 if fields else 2):
        notes.append(
            f"The right answers were taken from {free[-1]!r}; answer='...' names another field."
        )
        return free[-1]
    raise BadInput(
        f"Which field of the examples is the right answer? They have {listed(names)}.",
        f"Call it again with answer='{(known or free or list(names))[-1]}', or the one you mean.",
    )
