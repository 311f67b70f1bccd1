"""Examples that lack a field which the program reads: left out, and said."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.graph import HERE, Kind
from .store import Program, Store

NAMED = 5


async def complete(
    store: Store,
    session: int,
    targets: Sequence[str],
    places: Sequence[int],
    program: Program | None = None,
) -> tuple[list[int], list[str]]:
    """Those of `places` that have every field `targets` are made from, and a note on the others.

    With `program`, every field that this part of the graph reads.
    """
    if all(place == HERE for place in places):
        return list(places), []
    program = program or await store.program(session, targets, everything=True)
    fields = {v.field for v in program.variables.values() if v.kind is Kind.FIELD and v.field}
    examples = await store.examples(session, [p for p in places if p != HERE])
    lacking = {p: fields - e.fields.keys() for p, e in examples.items() if fields - e.fields.keys()}
    kept = [p for p in places if p not in lacking]
    if not lacking:
        return kept, []
    names = ", ".join(sorted(set().union(*lacking.values())))
    which = ", ".join(f"e{p}" for p in sorted(lacking)[:NAMED])
    more = ", ..." if len(lacking) > NAMED else ""
    return kept, [f"Left out, as they lack a field ({names}): {len(lacking)} ({which}{more})."]
