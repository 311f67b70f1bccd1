"""Forward: the values of a program on examples, computed only where they are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...schemas.errors import BadInput, ExampleError, ProgramFailed, ReplyError, TooLong
from ...schemas.graph import NO_EXAMPLE, Example, Kind, Operation, Value, Variable
from ..runs.context import RunContext
from ..runs.schedule import WIDE, NotYet, in_turns, raise_first, wavefront
from ..store import Program
from .operations import Inputs, check_room, failure_in, find

EVERYTHING = 100
"""What is put together in one computation: at most so many times the longest value."""
IMAGE_URL = "data:image/"
Node = tuple[str, int]
"""A variable's id and the number of an example, or NO_EXAMPLE where the value is of none."""


def example_of(variable: Variable, example: int) -> int:
    """The number under which the value of `variable` for `example` is kept: that one, or NO_EXAMPLE
    where the value is the same for all."""
    return example if variable.per_example else NO_EXAMPLE


@dataclass
class Evaluation:
    """A program's values by variable and example (its number, or NO_EXAMPLE): `known` before,
    `computed` now, and `unusable`, with its error, where a reply could not be used.

    `left_out` are the examples that no text can make usable, with their errors; `under`
    says which proposal the overriding texts are of. Another `sample` asks the models afresh,
    another `verdict` the judges; another `lineup` asks the next of an operation's models. At the
    examples of `lineups` another one holds; `by_model` has the scores of all of them there.
    """

    program: Program
    examples: Mapping[int, Example]
    overrides: Mapping[str, str] = field(default_factory=dict)
    sample: int = 0
    verdict: int = 0
    lineup: int = 0
    under: str = ""
    lineups: dict[int, int] = field(default_factory=dict)
    by_model: dict[int, dict[str, float]] = field(default_factory=dict)
    known: dict[Node, Value] = field(default_factory=dict)
    computed: dict[Node, Value] = field(default_factory=dict)
    unusable: dict[Node, ReplyError] = field(default_factory=dict)
    left_out: dict[int, ExampleError] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, str]:
        """Why examples were left out: sentences by the examples' ids."""
        return {f"e{n}": self.left_out[n].message for n in sorted(self.left_out)}

    def value(self, variable: str, example: int) -> Value:
        """The value of `variable` for one example. Raises KeyError if it has none."""
        v = self.program.variables[variable]
        if v.is_leaf:
            return Value(text=self._leaf(v, example))
        node = (variable, example_of(v, example))
        return self.computed[node] if node in self.computed else self.known[node]

    def has(self, variable: str, example: int) -> bool:
        """Whether `variable` has a value for one example, by its number."""
        node = (variable, example_of(self.program.variables[variable], example))
        leaf = self.program.variables[variable].is_leaf
        return leaf or node in self.computed or node in self.known

    def _leaf(self, v: Variable, example: int) -> str:
        if v.id in self.overrides:
            return self.overrides[v.id]
        if v.kind is not Kind.FIELD:
            return v.value or ""
        row = self.examples[example]
        if v.field not in row.fields:
            raise BadInput(
                f"Example {row.id} has no field {v.field!r}, which {v.id} is fed from; it has "
                f"{', '.join(sorted(row.fields))}.",
                "Add examples with that field, or create a variable for another example_field.",
            )
        return row.fields[v.field]

    def inputs(self, operation: Operation, example: int) -> Inputs:
        """What `operation` reads for one example, by its number."""
        values = {name: self.value(v, example) for name, v in operation.inputs.items()}
        pictures = [n for n in values if self._is_picture(operation, n, values[n])]
        where = f" for e{example}" if example != NO_EXAMPLE else ""
        if find(operation.kind).asks != "backward":  # who judges is not told whose text it is
            where += self.under
        model = operation.model_in(self.lineups.get(example, self.lineup))
        by = f", by {model}" if "models" in operation.spec else ""
        return Inputs(
            about=f"{operation.output} ({operation.kind}){where}{by}",
            texts={n: value.text for n, value in values.items() if n not in pictures},
            values=values,
            system=self.value(operation.system, example).text if operation.system else None,
            images={n: values[n].text for n in pictures},
            sample=self.sample,
            verdict=self.verdict,
            model=model,
        )

    def _is_picture(self, operation: Operation, name: str, value: Value) -> bool:
        """Whether a model is to be shown an input, and not told its data URL."""
        kind = self.program.variables[operation.inputs[name]].kind
        leaf = kind is Kind.IMAGE or (kind is Kind.FIELD and value.text.startswith(IMAGE_URL))
        return leaf and find(operation.kind).sees_pictures


async def load(
    work: RunContext,
    targets: Sequence[str],
    examples: Sequence[int],
    *,
    overrides: Mapping[str, str] | None = None,
    everything: bool = True,
    program: Program | None = None,
    sample: int = 0,
    lineup: int = 0,
) -> Evaluation:
    """The program that makes `targets`, with the values it has on `examples` already.

    With `overrides` (other texts for some parameters), what depends on them counts as missing.
    Without `everything`, only what is missing at the examples in use, and its direct inputs.
    `program` is that part of the graph, where the caller has it already.
    """
    store, pk = work.store, work.session.pk
    program = program or await store.graph.program(
        pk, targets, everything=everything, chain=work.chain
    )
    rows = await store.examples.get(pk, [n for n in examples if n != NO_EXAMPLE], work.chain)
    under = [work.proposed[v, t] for v, t in (overrides or {}).items() if (v, t) in work.proposed]
    evaluation = Evaluation(program, rows, dict(overrides or {}), sample, lineup=lineup)
    evaluation.under = f", under {under[0]}" if under else ""
    if sample or lineup:
        return evaluation  # stored values are of the first sample by the first models
    affected = made_from(program, evaluation.overrides)
    outputs = [
        v.id
        for v in program.variables.values()
        if not v.is_leaf
        and v.id not in affected
        and (v.per_example or v.id not in program.dirty)  # the others lack their one value
    ]
    evaluation.known = await store.values.get(pk, outputs, [NO_EXAMPLE, *examples], work.chain)
    return evaluation


def made_from(program: Program, sources: Iterable[str]) -> set[str]:
    """Every output of `program` that depends on one of `sources`."""
    users: dict[str, list[str]] = {}
    for operation in program.operations.values():
        for source in operation.sources:
            users.setdefault(source, []).append(operation.output)
    found: set[str] = set()
    stack = list(sources)
    while stack:
        for output in users.get(stack.pop(), ()):
            if output not in found:
                found.add(output)
                stack.append(output)
    return found


async def evaluate(
    work: RunContext,
    evaluation: Evaluation,
    examples: Sequence[int],
    *,
    tolerant: bool = False,
) -> None:
    """Compute what is missing of the program's outputs on `examples`, all that is ready at once.

    What was computed before an error stays in `evaluation.computed` (and in the ledger). What an
    ExampleError stops has no value, and its example is in `evaluation.left_out`. With `tolerant`,
    the same is true of an unusable reply, and an example whose right answer cannot be read is left
    out before anything is asked for it. Raises NotYet, or the first error; ExampleError when no
    example is left.
    """
    if tolerant:
        evaluation.left_out |= await _unreadable(work, evaluation, examples)
        examples = _left(work, evaluation, examples)
    failed = await _computed(work, evaluation, examples)
    if _any(failed, NotYet):  # what comes may be scored, so that failures have a cause
        failed = {n: e for n, e in failed.items() if not isinstance(e, ProgramFailed)}
    elif _any(failed, ProgramFailed) and work.fatal is None:
        failed = await _computed(work, evaluation, examples)  # others may have been scored since
    if tolerant:
        unusable = {n: e for n, e in failed.items() if isinstance(e, ReplyError)}
        evaluation.unusable.update(unusable)
        failed = {n: e for n, e in failed.items() if n not in unusable}
    out = {example: e for (_, example), e in failed.items() if isinstance(e, ExampleError)}
    evaluation.left_out |= out
    failed = {n: e for n, e in failed.items() if not isinstance(e, ExampleError)}
    raise_first({node: _placed(work, node, error) for node, error in failed.items()})
    _left(work, evaluation, examples)


def _placed(work: RunContext, node: Node, error: BaseException) -> BaseException:
    """An error that would come again, with where it was met, and the way out there always is."""
    variable, example = node
    out = f"Or take it out: revert(session_id='{work.session.id}', remove=['{variable}'])."
    if isinstance(error, ReplyError):
        error.next = f"{error.next} {out}"
        return error
    if not isinstance(error, BadInput):
        return error
    where = f"{variable} for e{example}" if example != NO_EXAMPLE else variable
    return BadInput(f"{where}: {error.message}", f"{error.next} {out}")


def _any(failed: Mapping[Node, BaseException], kind: type[BaseException]) -> bool:
    return any(isinstance(error, kind) for error in failed.values())


async def _computed(
    work: RunContext, evaluation: Evaluation, examples: Sequence[int]
) -> dict[Node, BaseException]:
    """Computes what is missing; gives what each node that could not be computed raised."""
    operations = await _nodes(evaluation, examples)
    graph = {
        node: [n for n in _needs(evaluation, op, node[1]) if n in operations]
        async for node, op in in_turns(operations.items())
    }
    room = EVERYTHING * work.settings.max_value_chars

    def compute(node: Node) -> Awaitable[None] | None:
        nonlocal room
        op = operations[node]
        inputs = evaluation.inputs(op, node[1])
        check_room(work, inputs)
        made = find(op.kind).compute(work, op, inputs)
        if not isinstance(made, Value):
            return _keep(evaluation, node, made)
        room -= len(made.text)
        if room < 0:
            raise failure_in(work, _no_room(work))
        evaluation.computed[node] = made
        return None

    wide = max(WIDE, *(4 * one.concurrency for one in work.settings.answering.values()))
    return await wavefront(graph, compute, wide)


def _left(work: RunContext, evaluation: Evaluation, examples: Sequence[int]) -> list[int]:
    """Those of `examples` that are not left out. Raises ExampleError when there is none."""
    if NO_EXAMPLE in evaluation.left_out:
        raise evaluation.left_out[NO_EXAMPLE]
    kept = [n for n in examples if n not in evaluation.left_out]
    if examples and not kept:
        why, reasons = evaluation.left_out[examples[0]], evaluation.reasons
        message = f"No example can be scored. {next(iter(reasons))}: {why.message}"
        raise ExampleError(
            message, f"{why.next} {_way_out(work, evaluation, examples[0])}", reasons
        )
    return kept


def _way_out(work: RunContext, evaluation: Evaluation, example: int) -> str:
    """How an example is mended, and how the losses that cannot be computed there are taken out."""
    s, row = work.session.id, evaluation.examples[example]
    losses = [
        o.output
        for o in evaluation.program.operations.values()
        if o.is_loss and not evaluation.has(o.output, example)
    ]
    return (
        f"add_examples(session_id='{s}', split='{row.split}', examples={{'{row.id}': "
        f"{{...}}}}) mends one; revert(session_id='{s}', remove={losses}) takes the loss out."
    )


async def _unreadable(
    work: RunContext, evaluation: Evaluation, examples: Sequence[int]
) -> dict[int, ExampleError]:
    """The examples where a loss cannot read the right answer, which nobody has to compute."""
    found: dict[int, ExampleError] = {}
    variables = evaluation.program.variables
    for operation in evaluation.program.operations.values():
        try:
            kind = find(operation.kind)
            answer = kind.answer_of(operation)
        except BadInput as error:  # what it needs is not installed any more
            raise _placed(work, (operation.output, NO_EXAMPLE), error) from error
        source = variables[operation.inputs[answer]] if answer else None
        if source is None or not source.is_leaf:
            continue
        for example in examples if variables[operation.output].per_example else (NO_EXAMPLE,):
            if (operation.output, example) not in evaluation.known:
                await asyncio.sleep(0)  # others have their turn
                try:
                    text = evaluation.value(source.id, example).text
                    await kind.check_answer(work, operation, text)
                except ExampleError as error:
                    found.setdefault(example, error)
    return found


def _no_room(work: RunContext) -> TooLong:
    most = EVERYTHING * work.settings.max_value_chars
    return TooLong(
        f"The texts that are put together here have more than {most:,} characters in all.",
        "Use fewer examples at once, or shorter texts.",
    )


async def _keep(evaluation: Evaluation, node: Node, made: Awaitable[Value]) -> None:
    evaluation.computed[node] = await made


async def _nodes(evaluation: Evaluation, examples: Sequence[int]) -> dict[Node, Operation]:
    program = evaluation.program
    found = (
        ((operation.output, example), operation)
        for operation in program.operations.values()
        for example in (
            examples if program.variables[operation.output].per_example else (NO_EXAMPLE,)
        )
    )
    done = evaluation.known.keys() | evaluation.computed.keys()
    return {node: op async for node, op in in_turns(found) if node not in done}


def _needs(evaluation: Evaluation, operation: Operation, example: int) -> Iterable[Node]:
    for source in operation.sources:
        yield source, example_of(evaluation.program.variables[source], example)
