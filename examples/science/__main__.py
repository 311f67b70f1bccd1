"""Science questions: one solution improved at test time with a vote, and a prompt for all.

With --small the prompt alone, beside a vote that costs as many calls.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.main import Arguments, Example, main
from examples.common.record import Ledger, Record, standard_error
from examples.common.report import Report, row
from examples.common.tools import LOOP, Tools
from examples.science.choice import chosen_letter

DATA = Path(__file__).parent / "data"
SPLITS = {"train": 12, "validation": 12}  # the rest is held out
ITERATIONS = 3
AT_ONCE = 6  # questions that are worked on at the same time
PROMPT = "Answer the question."
ENDING = "End with a line 'Answer: X', where X is the letter. (Attempt {attempt}.)"
TEMPLATE = f"{{question}}\n\nThink step by step. {ENDING}"
SHORT = f"{{question}}\n\nReason in one line. {ENDING}"
CRITIC = (
    "Examine this solution of the question with a critical eye. Check each step: is it true, does "
    "it follow, was every option looked at? Say what is wrong or missing; do not give the answer "
    "away if you are not sure."
)
ROLE = "a step-by-step solution of a multiple-choice question that ends with a line 'Answer: X'"
PAPER = {"machine_learning": "85.7 to 88.4 %", "college_physics": "91.2 to 95.1 %"}
PROMPTED, VOTED = "prompt", "baseline vote"


def rows(task: str) -> list[dict[str, str]]:
    """The questions of a task with their answers."""
    text = (DATA / f"mmlu_{task}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def held_out(task: str, limit: int) -> list[dict[str, str]]:
    """The questions that neither training nor validation sees."""
    begin = sum(SPLITS.values())
    return rows(task)[begin : begin + limit if limit else None]


async def run(tools: Tools, args: Arguments) -> None:
    """The prompt for all, then each held-out question by itself, then the vote."""
    calls = await prompt_level(tools, args)
    questions = held_out(args.task, args.limit)
    if args.small:
        await vote(tools, questions, max(1, round(calls / len(questions))), SHORT)
        return
    free = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, question: str) -> None:
        async with free:
            tools.say(f"question {number} of {len(questions)}")
            await instance_level(tools.another(), number, question)

    async with asyncio.TaskGroup() as group:
        for number, asked in enumerate(questions, 1):
            group.create_task(one(number, asked["question"]))
    await vote(tools, questions, 1 + 2 * ITERATIONS, TEMPLATE)


async def prompt_level(tools: Tools, args: Arguments) -> int:
    """A system prompt, optimised on training questions; both ends measured on held-out ones. Gives
    the number of model calls that the optimiser made."""
    tools.begin(PROMPTED)
    tools.say("the prompt for all questions")
    await tools("create_variable", role="system prompt for multiple-choice questions", value=PROMPT)
    await tools("create_variable", role="the question", example_field="question")
    await tools("create_variable", role="the letter", example_field="answer", reference=True)
    given, begin = rows(args.task), 0
    for split, size in SPLITS.items():
        await tools("add_examples", split=split, examples=given[begin : begin + size])
        begin += size
    await tools("add_examples", split="test", examples=held_out(args.task, args.limit))
    first = {"examples": ["e1"]}
    await tools("forward", operation="llm", system="v1", inputs={"question": "v2"}, **first)
    inputs = {"output": "v4", "answer": "v3"}
    await tools("compute_loss", kind="metric", metric="multiple_choice", inputs=inputs, **first)
    before = await tools("evaluate", split="test")
    tools.say(f"  held out, before: {before['mean_score']:.2f}; optimising")
    asked = {"steps": args.steps, "candidates": args.candidates, "patience": args.steps}
    found = await tools("optimize", seed=args.seed, memory=0, **LOOP | asked)
    after = await tools("evaluate", split="test")
    tools.say(f"  held out, after: {after['mean_score']:.2f}")
    return int(found["calls"])


async def instance_level(tools: Tools, number: int, question: str) -> None:
    """One solution: written, criticised and rewritten, three times over."""
    tools.begin(f"question {number}")
    await tools("create_variable", role="the question", value=question, requires_grad=False)
    await tools("create_variable", role="number of the attempt", value="1", requires_grad=False)
    inputs = {"question": "v1", "attempt": "v2"}
    await tools("forward", operation="llm", inputs=inputs, template=TEMPLATE)
    await tools("create_variable", role=ROLE, value=await tools.text("v3"))
    inputs = {"question": "v1", "solution": "v4"}
    judged = {"kind": "judge", "instruction": CRITIC, "graded": False}
    await tools("compute_loss", inputs=inputs, **judged)
    for iteration in range(ITERATIONS):
        if iteration:
            await tools("forward")
        await tools("backward", exact=False)
        await tools("step", accept="always", candidates=1, memory=0)


async def vote(
    tools: Tools, questions: Sequence[dict[str, str]], attempts: int, template: str
) -> None:
    """The baseline: so many independent solutions of each question, for a vote."""
    tools.begin(VOTED)
    tools.say(f"baseline: {attempts} solutions of each question")
    await tools("create_variable", role="the question", example_field="question")
    await tools("create_variable", role="number of the attempt", example_field="attempt")
    await tools("create_variable", role="the letter", example_field="answer", reference=True)
    numbered = [one | {"attempt": str(n)} for one in questions for n in range(1, attempts + 1)]
    await tools("add_examples", split="test", examples=numbered)
    first = {"examples": ["e1"]}
    inputs = {"question": "v1", "attempt": "v2"}
    await tools("forward", operation="llm", inputs=inputs, template=template, **first)
    inputs = {"output": "v4", "answer": "v3"}
    await tools("compute_loss", kind="metric", metric="multiple_choice", inputs=inputs, **first)
    await tools("evaluate", split="test")


@dataclass(frozen=True)
class Marks:
    """Right or wrong by question: the first solution, the vote over iterations, the last one, and
    the vote over independent solutions."""

    first: list[bool]
    iterated: list[bool]
    last: list[bool]
    voted: list[bool]


def marks(record: Record) -> Marks:
    """What came of each held-out question."""
    questions = held_out(record.task, 0)
    found = Marks([], [], [], [])
    drawn = drawn_letters(record)
    for number, asked in enumerate(questions, 1):
        if f"question {number}" not in record.sessions:
            break
        letters = [chosen_letter(t) for t in record.ledger(f"question {number}").texts("v4")]
        right = asked["answer"]
        found.first.append(letters[0] == right)
        found.last.append(letters[-1] == right)
        found.iterated.append(majority(letters) == right)
        found.voted.append(majority(drawn.get(asked["question"], [])) == right)
    return found


def drawn_letters(record: Record) -> dict[str, list[str]]:
    """The letters of the baseline's solutions, by question."""
    found: dict[str, list[str]] = {}
    if VOTED in record.sessions:
        for call in Ledger(record.sessions[VOTED]).replies:
            prompt = call["request"]["messages"][-1]["content"]
            question = prompt.rpartition("\n\n")[0]  # the template's own paragraph is the last
            found.setdefault(question, []).append(chosen_letter(call["text"]))
    return found


def majority(letters: Sequence[str]) -> str:
    """The most frequent letter, the earlier one where two are as frequent; empty ones left out."""
    counted = Counter(letter for letter in letters if letter)
    return counted.most_common(1)[0][0] if counted else ""


def voted(record: Record) -> list[bool]:
    """Whether the vote over independent solutions is right, by question."""
    drawn = drawn_letters(record)
    asked = [one for one in held_out(record.task, 0) if one["question"] in drawn]
    return [majority(drawn[one["question"]]) == one["answer"] for one in asked]


def is_small(record: Record) -> bool:
    """Whether only the prompt was optimised, and no question by itself."""
    return not any(name.startswith("question ") for name in record.sessions)


def report(record: Record) -> Report:
    """Accuracy on the held-out questions, both ways, or that of the prompt alone."""
    return of_prompt(record) if is_small(record) else of_both(record)


def of_prompt(record: Record) -> Report:
    """The report of a run with --small."""
    ledger, votes = record.ledger(PROMPTED), voted(record)
    first, last = (ledger.split_scores("test")[at] for at in (0, -1))
    checked = [ledger.split_scores("validation")[at] for at in (0, -1)]
    figures = [figure(one["mean"], one["error"]) for one in (first, last)]
    ours = round(last["mean"] * last["examples"])
    return Report(
        title=f"MMLU {record.task.replace('_', ' ')}, one prompt, questions held out: "
        f"{last['examples']}",
        rows=[
            row("held out", [*figures, share(votes)], PAPER[record.task]),
            row("validation", [figure(one["mean"], one["error"]) for one in checked]),
        ],
        baseline=vote_told(record, len(votes)),
        differs="gpt-4o there, which improved each solution by itself; a prompt for all here"
        f"{cut_at(ledger)}.",
        verdict=verdict(ours, sum(votes), len(votes), "The optimised prompt")
        if votes
        else f"Held out, {last['mean'] - first['mean']:+.2f}.",
        before=ledger.texts("v1")[0],
        after=ledger.text("v1"),
    )


def vote_told(record: Record, questions: int) -> str:
    """What the vote is, where there is one."""
    if VOTED not in record.sessions:
        return "none was run."
    attempts = len(record.ledger(VOTED).replies) / max(1, questions)
    return (
        f"the vote over {attempts:.0f} independent solutions of each held-out question, told to "
        "reason in one line and how to end: as many calls as the optimiser made."
    )


def cut_at(ledger: Ledger) -> str:
    """How long answers may be, as the recorded requests say it; empty where they do not."""
    asked = [call["request"] for call in ledger.replies if call["purpose"] == "forward"]
    most = asked[0]["params"].get("max_tokens")
    return f", and answers of {most} tokens at most" if most else ""


def of_both(record: Record) -> Report:
    """The report of a whole run."""
    found = marks(record)
    ledger = record.ledger(PROMPTED)
    tested = ledger.split_scores("test")
    ends = [figure(one["mean"], one["error"]) for one in (tested[0], tested[-1])]
    return Report(
        title=f"MMLU {record.task.replace('_', ' ')}, questions held out: {len(found.first)}",
        rows=[
            row(
                "one solution, vote over iterations",
                [share(one) for one in (found.first, found.iterated, found.voted)],
                PAPER[record.task],
            ),
            row("the same, the last iteration alone", [share(found.first), share(found.last)]),
            row("one prompt for all questions", ends),
        ],
        baseline=f"the vote over {1 + 2 * ITERATIONS} independent solutions, as many calls as one "
        "question's iterations take.",
        differs="the model answers for itself at another size than gpt-4o there, and a few dozen "
        "questions here, all of the subject there; one error is a few percent.",
        verdict=verdict(
            sum(found.iterated),
            sum(found.voted),
            len(found.first),
            "The vote over iterations",
        ),
        before=ledger.texts("v1")[0],
        after=ledger.text("v1"),
    )


def verdict(ours: int, theirs: int, count: int, name: str) -> str:
    """Who won, said plainly."""
    if ours > theirs:
        return f"{name} has {ours} of {count} right, the baseline {theirs}."
    word = "AS MANY" if ours == theirs else "MORE"
    mine = name[0].lower() + name[1:]
    return f"THE BASELINE HAS {word} RIGHT: {theirs} of {count}, {mine} {ours}."


def figure(mean: float, error: float | None) -> str:
    """A percentage with its standard error."""
    return f"{mean * 100:.0f} ± {(error or 0) * 100:.0f} %"


def share(values: Sequence[bool]) -> str:
    """The percentage that is true, with its standard error."""
    if not values:
        return ""
    return figure(sum(values) / len(values), standard_error(values))


def picture(record: Record, out: Path) -> list[Path]:
    """Accuracy by way, and how many are right after each iteration, or validation over calls."""
    path = out / f"{record.task}.png"
    if is_small(record):
        return [picture_of_prompt(record, path)]
    from examples.science.picture import draw

    found = marks(record)
    draw(path, found, by_iteration(record))
    return [path]


def picture_of_prompt(record: Record, path: Path) -> Path:
    """Validation over the calls, and the held-out scores beside the vote's."""
    from examples.common.pictures import prompt_run

    ledger, votes = record.ledger(PROMPTED), voted(record)
    ends = [ledger.split_scores("test")[at] for at in (0, -1)]
    held = [(float(one["mean"]), float(one["error"] or 0.0)) for one in ends]
    if votes:
        held.append((sum(votes) / len(votes), standard_error(votes)))
    prompt_run(path, [ledger.validated()], held, "vote over as many calls")
    return path


def by_iteration(record: Record) -> list[list[bool]]:
    """Right or wrong by iteration, then by question."""
    found: list[list[bool]] = []
    for number, asked in enumerate(held_out(record.task, 0), 1):
        if f"question {number}" in record.sessions:
            texts = record.ledger(f"question {number}").texts("v4")
            for at, text in enumerate(texts):
                found.extend([] for _ in range(at + 1 - len(found)))
                found[at].append(chosen_letter(text) == asked["answer"])
    return found


EXAMPLE = Example(
    name="science",
    title="Science questions: a solution criticised and rewritten, and a prompt for all.",
    tasks=tuple(PAPER),
    steps=3,
    run=run,
    report=report,
    picture=picture,
    local=("forward", "backward"),
    by_assistant=("backward",),
    limit=12,
    candidates=2,
    short=160,
    params={
        "forward": {"temperature": 0.7, "max_tokens": 400},
        "backward": {"temperature": 0.2, "max_tokens": 500},
    },
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE))
