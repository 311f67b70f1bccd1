"""The tool `optimize_prompt`: a program from one call, and its first score."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...schemas.arguments.optimize_prompt import OptimizePromptArguments
from ...schemas.errors import BadInput, TextGradError
from ...schemas.results import PromptResult, Result
from .. import metrics
from ..data import splits
from ..data.labelled import Row, Table, table_of
from ..data.reading import free_name
from ..data.tables import Given
from ..data.transcripts import UNDER_IMPROVEMENT
from ..runs.runner import Caller
from .add_examples import AddExamples
from .base import Tool
from .compute_loss import ComputeLoss
from .create_variable import CreateVariable
from .evaluate import Evaluate
from .forward import Forward
from .optimize import Optimize

MOST_ROWS = 20_000
KINDS = ("metric", "judge", "evaluator", "tests")
ROLES = {
    "prompt": "system prompt: what a model is told before each input",
    "tests": "code that has to pass its tests",
}
TEXT = "the text that is judged"


@dataclass(frozen=True)
class Measure:
    """How an output is scored: `kind` is one of KINDS, `how` the argument of that name; `more` are
    options of a metric, or what tests have found already."""

    kind: str
    how: str
    more: Mapping[str, Any]

    @property
    def compared(self) -> bool:
        """Whether it needs a right answer."""
        found = metrics.METRICS.get(self.how) if self.kind == "metric" else None
        return found is not None and found.needs_answer

    @property
    def loss(self) -> dict[str, Any]:
        """What `compute_loss` takes, beside its inputs."""
        if self.kind == "judge":
            return {"kind": "judge", "instruction": self.how}
        if self.kind == "tests":
            return {"kind": "feedback", "instruction": self.how, **self.more}
        return {"kind": self.kind, self.kind: self.how, **self.more}


class OptimizePrompt(Tool[OptimizePromptArguments, PromptResult]):
    """Starts with everything at once."""

    arguments = OptimizePromptArguments

    async def run(self, caller: Caller, args: OptimizePromptArguments) -> PromptResult:
        """Build the program, split the examples, and measure where it stands; with `steps`, go on.

        The prompt may be a `file` instead, as `create_variable` takes it. What it makes can be read
        and changed as if it had been made piece by piece. Raises BadInput, and leaves nothing
        behind then.
        """
        measure = _measure(args)
        if args.context is not None and measure.kind == "metric":
            raise BadInput(
                "A metric compares texts, and has no place for context.",
                "Say it in role, which whoever rewrites sees; or use a judge.",
            )
        table, parts = await self._table(args, measure)
        if (args.models or args.worst) and not parts.rows:
            raise BadInput(
                "Models run a prompt on examples, and there are none.",
                "Leave models and worst out.",
            )
        kind = "prompt" if parts.rows else measure.kind
        made = await CreateVariable(self.parts)(
            caller,
            role=args.role or ROLES.get(kind, TEXT),
            value=None if args.file is not None else table.prompt,
            constraints=args.constraints,
            file=args.file,
            write=args.write,
        )
        session_id, program = str(made.session_id), {"prompt": str(made.variable)}
        try:
            first = await self._build(caller, session_id, program, table, measure, args)
            for name, rows in parts.rows.items():
                await AddExamples(self.parts)(
                    caller, session_id=session_id, split=name, examples=rows
                )
        except TextGradError:
            session = await self.parts.store.sessions.get(session_id, caller.owner)
            await self.parts.store.maintenance.delete_sessions([session.pk])
            raise
        result = await self._with_its_score(caller, session_id, first, args, parts)
        told = result.model_dump(exclude_unset=True, exclude_none=True) | {"program": program}
        sizes = {name: len(rows) for name, rows in parts.rows.items()}
        if args.file is not None:
            kept = "accepted versions are written to it" if args.write else "it is never written"
            table.notes.append(f"{program['prompt']} has the text of {args.file}; {kept}.")
        return PromptResult(
            **told | {"splits": sizes, "notes": [*table.notes, *told.get("notes", [])]}
        )

    async def _table(
        self, args: OptimizePromptArguments, measure: Measure
    ) -> tuple[Table, splits.Parted]:
        """The prompt and what its examples mean, and the examples parted into splits."""
        text = "" if args.file is not None else args.prompt
        if args.examples is None and args.path is None:
            return _alone(text, args.answer, args.fields), splits.Parted({}, [])
        rows, said = await self._rows(args.examples, args.path)
        table = table_of(rows, text, args.answer, args.fields, compared=measure.compared)
        parts = await asyncio.to_thread(splits.split, table.rows, table.answer, args.seed)
        table.notes = [*said, *table.notes, *parts.notes]
        return table, parts

    async def _rows(self, examples: Given | None, path: str | None) -> tuple[list[Row], list[str]]:
        """The rows, and what was guessed in reading them. Raises BadInput."""
        async with self.parts.tables.read(examples, path) as loaded:
            if loaded.rows > MOST_ROWS:
                raise BadInput(
                    f"There are {loaded.rows:,} rows; at most {MOST_ROWS:,} are split here.",
                    "Give fewer: a step uses a handful at a time, so a sample teaches as well.",
                )
            rows = [row async for piece in loaded.pieces() for row in piece]
            told = [n for n in loaded.notes if not n.startswith(UNDER_IMPROVEMENT)]
            return rows, told  # which prompt is improved is said here, or was given

    async def _build(
        self,
        caller: Caller,
        session_id: str,
        program: dict[str, str],
        table: Table,
        measure: Measure,
        args: OptimizePromptArguments,
    ) -> Result:
        """Make all but the prompt itself; gives what `compute_loss` gave. Fills `program`."""

        async def leaf(name: str, role: str, **given: Any) -> str:
            made = await CreateVariable(self.parts)(
                caller, session_id=session_id, role=role, **given
            )
            program[name] = str(made.variable)
            return program[name]

        output = {"text": program["prompt"]}
        read: dict[str, str] = {}
        for field in table.inputs:
            name = _free(_word(field), [*read, "output", "answer", "context"])
            read[name] = await leaf(name, f"the {field}", example_field=field)
        if read:
            template = "\n".join(f"{name}: {{{name}}}" for name in read) if len(read) > 1 else None
            made = await Forward(self.parts)(
                caller,
                session_id=session_id,
                operation="llm",
                system=program["prompt"],
                inputs=read,
                template=template,
                models=args.models,
                worst=args.worst,
            )
            program["output"] = _id(made, "variable")
            output = {"output": program["output"]}
        seen = {**(read if measure.kind != "metric" else {}), **output}
        if table.answer is not None:
            seen["answer"] = await leaf(
                "answer", "the right answer", example_field=table.answer, reference=True
            )
        if args.context is not None:
            seen["context"] = await leaf(
                "context", "what it is for", value=args.context, requires_grad=False
            )
        loss = await ComputeLoss(self.parts)(
            caller, session_id=session_id, inputs=seen, **measure.loss
        )
        program["loss"] = _id(loss, "loss")
        return loss

    async def _with_its_score(
        self,
        caller: Caller,
        session_id: str,
        first: Result,
        args: OptimizePromptArguments,
        parts: splits.Parted,
    ) -> Result:
        """The first score, or what a whole run gave where steps were asked for."""
        steps = args.steps
        if not parts.rows and (first.status != "done" or not steps):
            if steps:
                after = f"optimize(session_id='{session_id}', steps={steps})"
                first.notes.append(f"Once it is scored, {after} goes on.")
            return first
        if steps:
            return await Optimize(self.parts)(
                caller, session_id=session_id, steps=steps, seed=args.seed
            )
        return await Evaluate(self.parts)(caller, session_id=session_id, split="validation")


def _id(result: Result, name: str) -> str:
    """The id that a result gives under `name`."""
    return str(getattr(result, name))


def _measure(args: OptimizePromptArguments) -> Measure:
    given = args.model_dump(include=set(KINDS))
    chosen = {kind: given[kind] for kind in KINDS if (given[kind] or "").strip()}
    if len(chosen) != 1:
        raise BadInput(
            "Give one of metric (code compares with the right answer), judge (what is good and "
            "what is bad, in words), evaluator (a program of the operator) and tests (what you "
            "run, and report).",
            "For example metric='exact_match', or judge='Is it correct, and short?'.",
        )
    [(kind, how)] = chosen.items()
    found = {"feedback": args.feedback, "score": args.score}
    told = {name: value for name, value in found.items() if value is not None}
    if told and kind != "tests":
        raise BadInput("feedback and score are what tests have found.", "Leave them out.")
    return Measure(kind, how, told or ({"options": args.options} if args.options else {}))


def _alone(prompt: str | None, answer: str | None, fields: Sequence[str] | None) -> Table:
    if prompt is None:
        raise BadInput(
            "There is no text to improve.", "Give prompt (the text as it is now), or file."
        )
    if answer or fields:
        raise BadInput("answer and fields name fields of examples.", "Give examples, or a path.")
    return Table(prompt, [], [], None)


def _free(name: str, taken: Sequence[str]) -> str:
    return free_name(name, taken).replace(" ", "_")


def _word(name: str) -> str:
    """A field's name as a template can hold it."""
    word = re.sub(r"\W+", "_", name).strip("_")
    return word if re.match(r"[^\W\d]", word) else f"field_{word}"
