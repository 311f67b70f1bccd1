"""What a result of building says about the next step."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.graph import Kind, Session, Variable
from .complete import named
from .store import Added


def needs_examples(session: Session) -> str:
    """What to do where an output needs examples and there are none."""
    return (
        f"There are no training examples yet, so nothing was computed. Call "
        f"add_examples(session_id='{session.id}', split='train', examples=[...]), then forward."
    )


def after_leaf(session_id: str, v: Variable) -> str:
    """What to do with a new leaf, by its kind."""
    if v.kind is Kind.FIELD:
        return (
            f"{v.id} is fed from the examples' field {v.field!r}; load them with "
            f"add_examples(session_id='{session_id}', split='train', examples=[...])."
        )
    if v.kind is Kind.DEMONSTRATIONS:
        return (
            f"{v.id} is empty until step or optimize fills it from the training split. Put it into "
            f"a prompt with forward(session_id='{session_id}', operation='format', "
            f"template='{{instructions}}\\n\\n{{examples}}', inputs={{..., 'examples': '{v.id}'}})."
        )
    return (
        f"Use {v.id} in forward or compute_loss (session_id='{session_id}'). Variables that "
        "examples feed come first: create_variable(session_id, role, example_field=...)."
    )


def example_notes(
    data: Sequence[dict[str, str]], fields: list[str], added: Added, split: str
) -> list[str]:
    """What is odd about examples that were loaded, in words; `fields` are all that they have."""
    notes = []
    skipped = len(data) - added.added
    if skipped:
        notes.append(f"{skipped} were skipped: {split} has them already.")
    if added.elsewhere:
        notes.append(
            f"{added.elsewhere} of these are in another split too: scores there are no longer "
            "held-out."
        )
    if added.alike:
        notes.append(
            f"Rows of other splits ({named(added.alike)}) differ from some of these in case, "
            "spacing or punctuation alone: scores there are no longer held-out."
        )
    uneven = sum(1 for row in data if len(row) != len(fields))
    if uneven:
        notes.append(f"{uneven} lack some of the fields {', '.join(fields)}.")
    return notes
