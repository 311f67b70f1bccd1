"""What to do after a step that changed texts, and where they stand whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...schemas.graph import Operation
from ..program.operations import find

BEST = "It scores 1: measure it by more"


def telling_again(operation: Operation | None, session_id: str) -> str:
    """The call that tells a measurement of the next text; empty where a loss is computed."""
    if operation is None or not operation.is_loss or find(operation.kind).asks != "caller":
        return ""
    return (
        f"compute_loss(session_id='{session_id}', kind='feedback', "
        f"inputs={dict(operation.inputs)}, feedback='...', score=...)"
    )


def following(
    session_id: str,
    changed: Sequence[str],
    *,
    after: float | None,
    telling: str,
    sizes: Mapping[str, int],
) -> str:
    """The next calls. `after` is the score of the new texts where the step has measured them,
    `telling` how a measurement is told, `sizes` how many examples each split has."""
    texts = f"{', '.join(changed)} changed; inspect(session_id='{session_id}', id='{changed[0]}') "
    texts += "shows the text whole, revert undoes it. "
    again = f"backward(session_id='{session_id}'), then step again"
    if after is not None:
        held_out = f"evaluate(session_id='{session_id}', split='test'), at the very end"
        report = f"inspect(session_id='{session_id}', what='report')"
        end = f"{held_out if sizes.get('test') else report} tells what was won."
        best = "All of validation scores 1 now, so add harder ones there" if sizes else BEST
        more = f"Go on with {again}, or stop:" if after < 1 else f"{best}, or stop:"
        return f"{texts}{more} {end}"
    if telling:
        return f"{texts}Measure the new text and tell it: {telling}; then {again}."
    measured = f"forward(session_id='{session_id}') computes with it what depends on it"
    if sizes.get("validation"):
        measured += f", evaluate(session_id='{session_id}') tells whether it is better"
    return f"{texts}{measured[0].upper()}{measured[1:]}; go on with {again}."
