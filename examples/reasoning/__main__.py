"""Reasoning prompts: a system prompt optimised for the small local model, held-out at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.common.main import Arguments, Example, main
from examples.common.record import Ledger, Record
from examples.common.report import Report, row
from examples.common.tools import LOOP, Facts, Tools

DATA = Path(__file__).parent / "data"
SIZES = {False: (30, 20), True: (10, 12)}  # training, validation; held out is the other file
PROMPT = "You will answer a reasoning question."
ROLE = "system prompt of a small language model that answers reasoning questions"
METRICS: dict[str, Facts] = {
    "object_counting": {"metric": "numeric"},
    "word_sorting": {"metric": "exact_match", "options": {"ignore_case": True}},
    "gsm8k": {"metric": "numeric"},
}
PAPER = {
    "object_counting": "77.8 to 91.9 %",
    "word_sorting": "76.7 to 79.8 %",
    "gsm8k": "72.9 to 81.1 %",
}
OURS, BASELINE = "optimised", "baseline rewrite"
ONE_STEP = 40
"""So many calls the baseline has at least: with fewer it could not take a step."""
STRATEGIES: dict[str, Facts] = {OURS: {}, BASELINE: {"strategy": "rewrite"}}


def rows(task: str, part: str) -> list[dict[str, str]]:
    """The rows of a task's file."""
    text = (DATA / f"{task}.{part}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def run(tools: Tools, args: Arguments) -> None:
    """The optimiser, then the baseline with as many calls, where there was anything to gain."""
    found = await optimised(tools, args, OURS, {})
    if found["steps"]:
        more = {"budget": {"calls": max(found["calls"], ONE_STEP)}, "steps": 50}
        await optimised(tools, args, BASELINE, more)


async def optimised(tools: Tools, args: Arguments, name: str, more: Facts) -> Facts:
    """One session from prompt to held-out score; gives what `optimize` said."""
    tools.begin(name)
    tools.say(f"{name}: {args.task}")
    await tools("create_variable", role=ROLE, value=PROMPT)
    await tools("create_variable", role="the question", example_field="question")
    await tools("create_variable", role="the answer", example_field="answer", reference=True)
    given, (train, validation) = rows(args.task, "train"), SIZES[args.small]
    await tools("add_examples", split="train", examples=given[:train])
    kept = given[train : train + validation]
    await tools("add_examples", split="validation", examples=kept)
    await tools("add_examples", split="test", examples=rows(args.task, "validation")[: args.limit])
    first = {"examples": ["e1"]}
    await tools("forward", operation="llm", system="v1", inputs={"question": "v2"}, **first)
    inputs = {"output": "v4", "answer": "v3"}
    await tools("compute_loss", kind="metric", inputs=inputs, **METRICS[args.task], **first)
    if name == OURS:  # the baseline begins at the same prompt
        before = await tools("evaluate", split="test")
        tools.say(f"  held out, before: {before['mean_score']:.2f}; optimising")
    asked = LOOP | {"steps": args.steps, "candidates": args.candidates, "memory": 1}
    asked |= STRATEGIES[name] | more
    asked["patience"] = asked["steps"]
    found = await tools("optimize", seed=args.seed, **asked)
    after = await tools("evaluate", split="test")
    tools.say(f"  held out, after: {after['mean_score']:.2f}")
    return found


def report(record: Record) -> Report:
    """Held-out and validation scores of both, and the prompt's change."""
    both = ledgers(record)
    ours = both[0]
    tested = [one.split_scores("test") for one in both]
    checked = [one.split_scores("validation") for one in both]
    return Report(
        title=f"Reasoning prompts: {record.task.replace('_', ' ')}",
        rows=[
            row(
                f"held out, {tested[0][-1]['examples']} questions", ends(tested), PAPER[record.task]
            ),
            row("validation", ends(checked)),
        ],
        baseline="plain rewrites from what the metric says, without a critic, through the same "
        "gate, with as many calls at most (40 at least)."
        if len(both) > 1
        else "none was run.",
        differs="gpt-3.5-turbo was optimised for there and gpt-4o wrote the gradients; 50 training "
        f"rows there, {ours.examples('train')} here, batches of four.",
        verdict=verdict([[one["mean"] for one in scores] for scores in tested]),
        before=ours.texts("v1")[0],
        after=ours.text("v1"),
    )


def ledgers(record: Record) -> list[Ledger]:
    """The optimiser's session, and the baseline's where there is one."""
    return [record.ledger(name) for name in (OURS, BASELINE) if name in (OURS, *record.sessions)]


def kept(scores: Sequence[Sequence[Facts]]) -> list[Facts]:
    """The scores at the start, at the end, and at the end of the baseline."""
    return [scores[0][0], scores[0][-1], *(one[-1] for one in scores[1:])]


def ends(scores: Sequence[Sequence[Facts]]) -> list[str]:
    """Their figures."""
    return [figure(one) for one in kept(scores)]


def verdict(means: Sequence[Sequence[float]]) -> str:
    """Who won, said plainly, from the held-out means of both."""
    gained = means[0][-1] - means[0][0]
    if len(means) == 1:
        return f"Held out, {gained:+.2f}."
    beyond = means[0][-1] - means[1][-1]
    if beyond > 0:
        return f"Held out, {gained:+.2f}; {beyond:+.2f} beside the baseline."
    word = "IS AS GOOD" if beyond == 0 else f"WINS BY {-beyond:.2f}"
    return f"Held out, {gained:+.2f}; THE BASELINE {word}."


def figure(one: Facts) -> str:
    """A percentage with its standard error."""
    return f"{one['mean'] * 100:.0f} ± {(one['error'] or 0) * 100:.0f} %"


def picture(record: Record, out: Path) -> list[Path]:
    """The validation score over the calls, and the held-out scores."""
    from examples.common.pictures import prompt_run

    both = ledgers(record)
    path = out / f"{record.task}.png"
    ends = kept([one.split_scores("test") for one in both])
    shares = [(one["mean"], one["error"] or 0.0) for one in ends]
    prompt_run(path, [one.validated() for one in both], shares, "plain rewrites")
    return [path]


EXAMPLE = Example(
    name="reasoning",
    title="Reasoning prompts: a system prompt, optimised for the small local model.",
    tasks=tuple(METRICS),
    steps=4,
    run=run,
    report=report,
    picture=picture,
    local=("forward", "backward"),
    by_assistant=("backward",),
    limit=30,
    candidates=2,
    short=100,
    params={
        "forward": {"temperature": 0.0, "max_tokens": 300},
        "backward": {"temperature": 0.2, "max_tokens": 400},
    },
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE))
