"""What a result of building says about the next step."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import Kind, Session, Variable
from ..data.reading import listed
from ..data.tables import Loaded
from ..program.missing_fields import named
from ..store import Added

FEW = 10
"""Validation examples on which a gain is hard to tell from luck."""


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


def in_file(v: Variable) -> str:
    """Whether a variable's file has its text; empty where it has none."""
    if v.file is None:
        return ""
    if v.file.write:
        return (
            f"{v.file.path} holds the text of {v.id} now; its earlier ones are versions of {v.id}."
        )
    return f"{v.file.path} stays as it is: {v.id} was bound to it without write."


def saturated(session_id: str, split: str) -> str:
    """What to do where everything scores 1; `split` is empty for a program without examples."""
    if not split:
        return (
            "It scores 1: by this loss there is nothing left to gain. Use a stricter one, or stop."
        )
    why = "no step can be accepted" if split == "validation" else "there is nothing to learn here"
    return (
        f"Every example of {split} scores 1: {why}. To go on, add harder ones with "
        f"add_examples(session_id='{session_id}', split='{split}', examples=[...])."
    )


def how_to_gain(
    session_id: str, calls: tuple[int, int], train: int, *, alone: bool, one: bool, untested: bool
) -> str:
    """The next call, where there is something to gain, and what it costs: `calls` of a step at most
    and of a minibatch that is passed over; `one`: there is one parameter; `untested`: there is a
    test split that was never read."""
    if not alone and not train:
        return (
            f"There is nothing to learn from: add_examples(session_id='{session_id}', "
            "split='train', ...)."
        )
    first = (
        f"evaluate(session_id='{session_id}', split='test') tells, once, what it scores at first "
        "on examples that nothing is chosen by. "
        if untested
        else ""
    )
    most, passed = calls
    by_hand = f"backward(session_id='{session_id}'), step(accept='if_better', candidates=3)"
    if one and not alone:  # as optimize does it
        by_hand = (
            f"step(session_id='{session_id}', strategy='reflect', accept='if_better', candidates=3)"
        )
    more = (
        "" if alone else f" (a minibatch that is all right already costs {passed}, and is no step)"
    )
    return (
        f"{first}optimize(session_id='{session_id}', steps=3) goes for it, with at most {most} "
        f"calls a step{more}; by hand: {by_hand}."
    )


def after_examples(split: str, total: int, minibatch: int) -> str:
    """What the examples of a split are for, and what is done with them; `minibatch` training
    examples are in use unless others are named."""
    if split == "test":
        return "evaluate(split='test') alone reads them: before the first step, and at the end."
    if split == "train":
        which = "them" if total <= minibatch else f"the first {minibatch}, or those you name"
        return f"forward and compute_loss compute for {which}; backward learns from that."
    few = f" So few as {total} prove little." if total < FEW else ""
    return f"evaluate, step(accept='if_better') and optimize compare texts on them.{few}"


def example_notes(loaded: Loaded, pieces: Sequence[Added], split: str) -> list[str]:
    """What is odd about examples that were loaded, and what was guessed in reading them.

    `pieces` are what became of them, some at a time.
    """
    notes = [*loaded.notes]
    added, elsewhere = sum(p.added for p in pieces), sum(p.elsewhere for p in pieces)
    alike = [n for p in pieces for n in p.alike]
    if skipped := loaded.rows - added:
        notes.append(f"{skipped} were skipped: {split} has them already.")
    if elsewhere:
        notes.append(
            f"{elsewhere} of these are in another split too: scores there are no longer held-out."
        )
    if alike:
        notes.append(
            f"Rows of other splits ({named(alike)}) differ from some of these in case, "
            "spacing or punctuation alone: scores there are no longer held-out."
        )
    if loaded.uneven:
        notes.append(f"{loaded.uneven} lack some of the fields {listed(loaded.fields)}.")
    return notes
