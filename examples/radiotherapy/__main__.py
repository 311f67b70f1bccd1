"""Radiotherapy: the objectives of a plan, improved until the dose meets more of its goals."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from examples.common.main import Arguments, Example, loop, main
from examples.common.record import Evaluated, Record, best, best_so_far, scored
from examples.common.report import Report, outcome, row
from examples.common.tools import Tools

STRUCTURES = {
    "pelvis": ["target", "rectum", "bladder", "left femoral head", "right femoral head", "body"],
    "tg119": ["target", "core", "body"],
}
PRESCRIBED = {"pelvis": 70, "tg119": 50}
ROLE = (
    "the objectives of a radiotherapy plan as JSON, one object with for each structure a weight (0 "
    "to 10000) and a dose in Gy. The fluence minimises a weighted sum over the structures of the "
    "mean squared difference from the dose in each: any difference in the target, only doses above "
    "it elsewhere; the body is what is outside the other structures. A research toy, no clinical "
    "plan."
)
CONSTRAINTS = ["parses=json"]
GOAL = re.compile(r"(met|MISSED): (.+?) at (?:least|most) ([\d.]+) (\S+); it is ([\d.]+)")


def start(patient: str) -> str:
    """Equal weights: the target's dose as prescribed, none elsewhere."""
    plan = {
        name: {"weight": 1, "dose": PRESCRIBED[patient] if name == "target" else 0}
        for name in STRUCTURES[patient]
    }
    return json.dumps(plan)


async def run(tools: Tools, args: Arguments) -> None:
    """One session: the plan, its patient, the evaluator as loss."""
    from examples.radiotherapy.patient import case

    tools.begin(args.task)
    tools.say(f"from equal weights, for {args.task}")
    await asyncio.to_thread(case, args.task)  # computed once, so that no evaluator has to
    text = start(args.task)
    await tools("create_variable", role=ROLE, value=text, constraints=CONSTRAINTS)
    await tools("create_variable", role="the patient", value=args.task, requires_grad=False)
    inputs = {"plan": "v1", "patient": "v2"}
    found = await tools("compute_loss", kind="evaluator", evaluator="plan", inputs=inputs)
    tools.say(f"score of the start: {found['mean_score']:.3f}; optimising")
    await tools("optimize", **loop(args))


def baseline(record: Record, args: Arguments, say: Callable[[str], None]) -> list[Evaluated]:
    """As many random plans as the run evaluated."""
    from examples.radiotherapy.evaluate import score
    from examples.radiotherapy.random_search import plans

    patient = task(record)
    count = len(record.only().evaluated())
    say(f"baseline: {count} plans with random weights and doses")
    found = []
    for text in islice(plans(patient, args.seed), count):
        value, feedback = score({"plan": text, "patient": patient})
        found.append(Evaluated({"plan": text, "patient": patient}, value, feedback))
        say(f"  {value:.3f}")
    return found


def report(record: Record) -> Report:
    """Score, goals met and every figure: the start, the last plan and the best random one."""
    ledger = record.only()
    ours, drawn = ledger.evaluated(), record.baseline
    last = ledger.text("v1")
    final = scored(ours, "plan", last)
    three = [ours[0], final, *([best(drawn)] if drawn else [])]
    rows = [
        row("score (1 is best)", [f"{one.score:.3f}" for one in three]),
        row("goals met", [met(one) for one in three], PAPER),
    ]
    measured = [goals(one) for one in three]
    rows += [row(name, [found.get(name, "") for found in measured]) for name in measured[0]]
    return Report(
        title=f"Radiotherapy, {task(record)}. NO CLINICAL TOOL: the patient is synthetic, the "
        "goals are ours.",
        rows=rows,
        baseline=f"{len(drawn)} plans with random weights and doses, the same evaluator; the run "
        f"itself tried {len(ours)}.",
        differs="a synthetic patient and goals of ours here, five real prostate patients, a "
        "clinician's plans and gpt-4o there; a program judges here, a model judged there.",
        verdict=outcome(final.score, best(drawn).score if drawn else None, "the best random plan"),
        before=pretty(ours[0].inputs["plan"]),
        after=pretty(last),
    )


PAPER = "better than clinical"


def met(one: Evaluated) -> str:
    """How many goals are met, of how many."""
    found = GOAL.findall(one.feedback)
    return f"{sum(fate == 'met' for fate, *_ in found)} of {len(found)}" if found else "0"


def goals(one: Evaluated) -> dict[str, str]:
    """Each goal with its figure; `!` marks what is missed."""
    return {
        f"{name} ({'≥' if name.split()[-1] in ('D95', 'D98') else '≤'} {bound} {unit})": value
        + (" !" if fate == "MISSED" else "")
        for fate, name, bound, unit, value in GOAL.findall(one.feedback)
    }


def pretty(text: str) -> str:
    """A line for each structure."""
    try:
        plan = json.loads(text)
    except ValueError:
        return text
    return "\n".join(f"{name}: {json.dumps(one)}" for name, one in plan.items())


def picture(record: Record, out: Path) -> list[Path]:
    """The curve, dose and dose-volume curves of the start and the last plan."""
    from examples.radiotherapy.picture import draw

    ledger = record.only()
    ours = ledger.evaluated()
    path = out / f"{task(record)}.png"
    plans = (ours[0].inputs["plan"], ledger.text("v1"))
    draw(path, task(record), plans, curve(ours), curve(record.baseline))
    return [path]


def curve(found: list[Evaluated]) -> list[tuple[float, float]]:
    """The best score by the number of plans tried."""
    return [(n, value) for n, value in enumerate(best_so_far([one.score for one in found]), 1)]


def task(record: Record) -> str:
    """The patient of a record."""
    if record.task:
        return record.task
    return record.only().evaluated()[0].inputs["patient"]


EXAMPLE = Example(
    name="radiotherapy",
    title="Radiotherapy. No clinical tool: the patient is synthetic and the goals are ours.",
    tasks=tuple(STRUCTURES),
    steps=6,
    run=run,
    report=report,
    picture=picture,
    baseline=baseline,
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE))
