"""Examples that cannot be used: left out, named and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...schemas.graph import NO_EXAMPLE, Kind, number
from ..store import Program, Store

NAMED = 5


async def complete(
    store: Store,
    session: int,
    targets: Sequence[str],
    examples: Sequence[int],
    program: Program | None = None,
) -> tuple[list[int], list[str]]:
    """Those of `examples` that have every field `targets` are made from, and a note on the others.

    With `program`, every field that this part of the graph reads.
    """
    if all(example == NO_EXAMPLE for example in examples):
        return list(examples), []
    program = program or await store.graph.program(session, targets, everything=True)
    fields = {v.field for v in program.variables.values() if v.kind is Kind.FIELD and v.field}
    rows = await store.examples.get(session, [n for n in examples if n != NO_EXAMPLE])
    lacking = {n: fields - e.fields.keys() for n, e in rows.items() if fields - e.fields.keys()}
    kept = [n for n in examples if n not in lacking]
    if not lacking:
        return kept, []
    names = ", ".join(sorted(set().union(*lacking.values())))
    return kept, [f"Left out, as they lack a field ({names}): {len(lacking)} ({named(lacking)})."]


def named(examples: Iterable[int]) -> str:
    """The ids of the first few examples, as a phrase."""
    found = sorted(examples)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(f"e{n}" for n in found[:NAMED]) + more


def left_out(reasons: Mapping[str, str]) -> list[str]:
    """A note on examples that could not be used: how many, and the first few with their reasons."""
    if not reasons:
        return []
    first = sorted(reasons, key=lambda example: number(example, "e") or NO_EXAMPLE)[:NAMED]
    shown = " ".join(f"{example}: {reasons[example]}" for example in first)
    more = " ..." if len(reasons) > NAMED else ""
    return [f"Left out, as they cannot be scored: {len(reasons)}. {shown}{more}"]


def unusable(reasons: Mapping[str, str]) -> list[str]:
    """A note on examples that gave no usable reply, by their ids: how many, which, and a reason.

    A program without examples has one reason, under no id.
    """
    if not reasons:
        return []
    which = "" if "" in reasons else f": {named(number(e, 'e') or NO_EXAMPLE for e in reasons)}"
    many = f"{len(reasons)} example{'s' if len(reasons) > 1 else ''}"
    why = next(iter(reasons.values()))
    return [f"{many} gave no usable reply, which counts as 0{which}. {why}"]
