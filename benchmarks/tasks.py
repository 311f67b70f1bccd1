"""The programs that both sides run, as data: read by our side and by the TextGrad side alike."""

from __future__ import annotations

SHAPES = ("judge", "metric", "two-stage", "diamond")
SIZES = (1, 4, 16, 64)

SYSTEM = (
    "You answer questions about train tickets. Read the question, decide which fare applies and "
    "reply with the fare and one sentence that says why. Attempt {attempt}."
)
SECOND = (
    "You check a colleague's answer to a customer and write the final reply in a friendly tone, "
    "with the fare in bold. Attempt {attempt}."
)
JUDGE = (
    "Is the reply correct, complete and polite, and is the fare given in the form that the price "
    "list uses? Say what is wrong with it and what is missing."
)
PURPOSE = "The output of an exact match between the prediction and the right answer."
SNIPPET = (
    "Travelling with a bicycle: buy a ticket for it at the counter, attempt {attempt}. Groups of "
    "five or more pay less, children under six travel free of charge."
)
BRANCHES = ("Rewrite for tourists: {x}", "Rewrite for commuters: {x}")
FOLLOW = "Make it shorter and keep all facts: {x}"
JOIN = "Combine these two notices into one.\n\nFirst: {a}\n\nSecond: {b}"
FINAL = "Set this notice as a poster with a headline: {x}"


def questions(count: int) -> list[str]:
    """`count` questions of about 45 tokens each."""
    return [
        f"Case {n}: a passenger of {20 + n % 60} years travels from Basel to Chur on a "
        f"{('weekday', 'Saturday', 'Sunday')[n % 3]} at {n % 24:02}:15 with a dog and a folding "
        "bicycle and holds a half-fare card. Which fare applies?"
        for n in range(count)
    ]


def answers(count: int) -> list[str]:
    """The right answers, for the metric."""
    return [f"{10 + n}.40 francs" for n in range(count)]


def textgrad_calls(shape: str, size: int) -> int:
    """How many calls TextGrad's own algorithm makes for one step (a check on the measurement)."""
    return {"judge": 4 * size + 1, "metric": 3 * size + 1, "two-stage": 7 * size + 2}.get(shape, 16)
