"""Forward: the values of a program at places (examples), computed only where they are missing."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..schemas.errors import BadInput, ReplyError, TooLong
from ..schemas.graph import HERE, Example, Kind, Op, Operation, Value, Variable
from .ledger import Work
from .operations import Inputs, check_room, failure_in
from .schedule import WIDE, in_turns, raise_first, wavefront
from .store import Program

EVERYTHING = 100
"""What is put together in one computation: at most so many times the longest value."""
IMAGE_URL = "data:image/"
Node = tuple[str, int]
"""A variable's id and a place."""


def place_of(variable: Variable, place: int) -> int:
    """Where `variable` has its value for the example at `place`."""
    return place if variable.per_example else HERE


@dataclass
class Evaluation:
    """A program's values: `known` before, `computed` now, `unusable` where a reply was refused."""

    program: Program
    examples: Mapping[int, Example]
    overrides: Mapping[str, str] = field(default_factory=dict)
    sample: int = 0
    known: dict[Node, Value] = field(default_factory=dict)
    computed: dict[Node, Value] = field(default_factory=dict)
    unusable: dict[Node, ReplyError] = field(default_factory=dict)

    def value(self, variable: str, place: int) -> Value:
        """The value of `variable` for the example at `place`. Raises KeyError if it has none."""
        v = self.program.variables[variable]
        if v.is_leaf:
            return Value(text=self._leaf(v, place))
        node = (variable, place_of(v, place))
        return self.computed[node] if node in self.computed else self.known[node]

    def has(self, variable: str, place: int) -> bool:
        """Whether there is a value."""
        node = (variable, place_of(self.program.variables[variable], place))
        leaf = self.program.variables[variable].is_leaf
        return leaf or node in self.computed or node in self.known

    def _leaf(self, v: Variable, place: int) -> str:
        if v.id in self.overrides:
            return self.overrides[v.id]
        if v.kind is not Kind.FIELD:
            return v.value or ""
        example = self.examples[place]
        if v.field not in example.fields:
            raise BadInput(
                f"Example {example.id} has no field {v.field!r}, which {v.id} is fed from; it has "
                f"{', '.join(sorted(example.fields))}.",
                "Add examples with that field, or create a variable for another example_field.",
            )
        return example.fields[v.field]

    def inputs(self, operation: Operation, place: int) -> Inputs:
        """What `operation` reads for the example at `place`."""
        values = {name: self.value(v, place) for name, v in operation.inputs.items()}
        pictures = [n for n in values if self._is_picture(operation, n, values[n])]
        where = f" for e{place}" if place != HERE else ""
        return Inputs(
            about=f"{operation.output} ({operation.kind}){where}",
            texts={n: value.text for n, value in values.items() if n not in pictures},
            values=values,
            system=self.value(operation.system, place).text if operation.system else None,
            images={n: values[n].text for n in pictures},
            sample=self.sample,
        )

    def _is_picture(self, operation: Operation, name: str, value: Value) -> bool:
        """Whether a model is to be shown an input, and not told its data URL."""
        kind = self.program.variables[operation.inputs[name]].kind
        leaf = kind is Kind.IMAGE or (kind is Kind.FIELD and value.text.startswith(IMAGE_URL))
        return leaf and operation.kind in (Op.LLM, Op.JUDGE)


async def load(
    work: Work,
    targets: Sequence[str],
    places: Sequence[int],
    *,
    overrides: Mapping[str, str] | None = None,
    everything: bool = True,
    program: Program | None = None,
    sample: int = 0,
) -> Evaluation:
    """The program that makes `targets`, with the values it has at `places` already.

    With `overrides` (other texts for some parameters), what depends on them counts as missing.
    Without `everything`, only what is missing at the examples in use, and its direct inputs.
    `program` is that part of the graph, where the caller has it already.
    """
    store, pk = work.store, work.session.pk
    program = program or await store.program(pk, targets, everything=everything, chain=work.chain)
    examples = await store.examples(pk, [p for p in places if p != HERE], work.chain)
    evaluation = Evaluation(program, examples, dict(overrides or {}), sample=sample)
    if sample:
        return evaluation  # stored values are of the first sample
    affected = made_from(program, evaluation.overrides)
    outputs = [
        v.id
        for v in program.variables.values()
        if not v.is_leaf
        and v.id not in affected
        and (v.per_example or v.id not in program.dirty)  # the others have one place, without value
    ]
    evaluation.known = await store.values(pk, outputs, [HERE, *places], work.chain)
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
    work: Work,
    evaluation: Evaluation,
    places: Sequence[int],
    *,
    tolerant: bool = False,
) -> None:
    """Compute what is missing of the program's outputs at `places`, all that is ready at once.

    What was computed before an error stays in `evaluation.computed` (and in the ledger). With
    `tolerant`, an unusable reply leaves its node, and those made from it, without a value.
    Raises NotYet, or the first error.
    """
    operations = await _nodes(evaluation, places)
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
        made = work.rules[op.kind](work, op, inputs)
        if not isinstance(made, Value):
            return _keep(evaluation, node, made)
        room -= len(made.text)
        if room < 0:
            raise failure_in(work, _no_room(work))
        evaluation.computed[node] = made
        return None

    roles = work.settings.forward, work.settings.backward
    wide = max(WIDE, *(4 * role.concurrency for role in roles))
    failed = await wavefront(graph, compute, wide)
    if tolerant:
        unusable = {n: e for n, e in failed.items() if isinstance(e, ReplyError)}
        evaluation.unusable.update(unusable)
        failed = {n: e for n, e in failed.items() if n not in unusable}
    raise_first(failed)


def _no_room(work: Work) -> TooLong:
    most = EVERYTHING * work.settings.max_value_chars
    return TooLong(
        f"The texts that are put together here have more than {most:,} characters in all.",
        "Use fewer examples at once, or shorter texts.",
    )


async def _keep(evaluation: Evaluation, node: Node, made: Awaitable[Value]) -> None:
    evaluation.computed[node] = await made


async def _nodes(evaluation: Evaluation, places: Sequence[int]) -> dict[Node, Operation]:
    program = evaluation.program
    found = (
        ((operation.output, place), operation)
        for operation in program.operations.values()
        for place in (places if program.variables[operation.output].per_example else (HERE,))
    )
    return {node: op async for node, op in in_turns(found) if node not in evaluation.known}


def _needs(evaluation: Evaluation, operation: Operation, place: int) -> Iterable[Node]:
    for source in operation.sources:
        yield source, place_of(evaluation.program.variables[source], place)
