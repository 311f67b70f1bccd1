"""GEPA 0.1.4 on one task, within a budget of calls; runs in GEPA's own environment."""

from __future__ import annotations

import contextlib
from typing import Any

import gepa
from gepa.adapters.default_adapter.default_adapter import EvaluationResult
from metered import Spent, meter


class Watch:
    """Tells of each text that is the best on validation so far."""

    def __init__(self, found: Any) -> None:
        self.meter = found

    def on_valset_evaluated(self, event: dict[str, Any]) -> None:
        """A text was scored on validation."""
        if event["is_best_program"]:
            self.meter.hand_out(event["candidate"]["system_prompt"], event["average_score"])


def main() -> None:
    """Run until the budget is spent."""
    found = meter()
    rows = {
        split: [row | {"additional_context": {}} for row in of]
        for split, of in found.task.splits.items()
    }

    def evaluator(row: dict[str, Any], response: str) -> EvaluationResult:
        score, feedback = found.task.score(response, row)
        return EvaluationResult(score=score, feedback=feedback)

    with contextlib.suppress(Spent):
        gepa.optimize(
            seed_candidate={"system_prompt": found.task.prompt},
            trainset=rows["train"],
            valset=rows["validation"],
            task_lm=lambda messages: found.ask("task", messages),
            evaluator=evaluator,
            reflection_lm=lambda prompt: found.ask(
                "critic", [{"role": "user", "content": str(prompt)}]
            ),
            reflection_minibatch_size=3,
            candidate_selection_strategy="pareto",
            callbacks=[Watch(found)],
            max_metric_calls=10 * found.budget,
            seed=found.order["seed"],
        )
    found.end()


if __name__ == "__main__":
    main()
