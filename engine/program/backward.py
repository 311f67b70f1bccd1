"""Backward: feedback flows from losses to every variable that requires it.

TextGrad (arXiv 2406.07496, sections 2 and 3) asks once for every operation, input and example.
Here a judge's critique of an output *is* that output's gradient, one call for each operation
writes the feedback for all of its inputs, and the examples of a minibatch share calls in groups.
`exact` keeps the paper's one call for each edge and example.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from ...schemas.completions import Completion, CompletionRequest, Message, Purpose
from ...schemas.graph import NO_EXAMPLE, Gradient, Kind, Operation, number
from ..prompts import sentence, text
from ..prompts.fence import Fence
from ..prompts.length import CHARS_PER_TOKEN, shorten
from ..replies.reply import object_schema, parse_object
from ..runs.context import RunContext
from ..runs.schedule import gather, raise_first, wavefront
from ..store import Program
from . import quoting
from .forward import Evaluation, Node, example_of, made_from
from .operations import find

PICTURE = 1000
"""Tokens that a picture counts for when examples share a call."""
RULE = "rule"
"""What is asked for before the feedback: a small model that has said it is to the point afterwards
(docs/results.md). A reply without it will do."""


@dataclass(frozen=True)
class Plan:
    """How calls are shared: at most `group_size` examples and `tokens` of material in each.

    `exact` shares none. `direct` makes none: what was criticised is the feedback itself, for a
    plain rewrite (the baseline of arXiv 2512.13598).
    """

    group_size: int = 8
    tokens: int = 6000
    exact: bool = False
    direct: bool = False


@dataclass
class Backward:
    """One backward pass: feedback collected on each node, and the gradients of the parameters."""

    evaluation: Evaluation
    losses: list[str]
    examples: list[int]
    plan: Plan
    wanted: set[str] = field(default_factory=set)
    measured: bool = False
    collected: dict[Node, dict[str, list[str]]] = field(default_factory=dict)
    gradients: dict[tuple[str, str, int], Gradient] = field(default_factory=dict)

    @property
    def program(self) -> Program:
        """The program walked over."""
        return self.evaluation.program

    def feedback(self, variable: str, example: int) -> list[str]:
        """What was said about a variable on an example, without repetitions.

        In the order of the operations that said it, not in the order it came: the same pass must
        always write the same prompts.
        """
        by_operation = self.collected.get((variable, example), {})
        said = [t for op in sorted(by_operation, key=_number) for t in by_operation[op]]
        return list(dict.fromkeys(said))


def requires_grad(program: Program) -> set[str]:
    """The ids of the variables that depend on a parameter, parameters included."""
    parameters = {v.id for v in program.variables.values() if v.requires_grad and v.is_leaf}
    return parameters | made_from(program, parameters)


async def backward(
    work: RunContext, evaluation: Evaluation, losses: list[str], examples: list[int], plan: Plan
) -> list[Gradient]:
    """The gradients of all parameters, in graph order, each with the examples it came from.

    An operation is visited once, after everything that uses its output; operations that do not
    depend on each other are asked about at the same time.
    """
    measured = list(examples) != [NO_EXAMPLE] and await quoting.held_out(work)
    wanted = requires_grad(evaluation.program)
    state = Backward(evaluation, losses, examples, plan, wanted, measured)
    graph = _reversed(state)

    def visit(operation_id: str) -> Awaitable[None] | None:
        return _visit(work, state, state.program.operations[operation_id])

    raise_first(await wavefront(graph, visit))
    return [state.gradients[key] for key in sorted(state.gradients, key=_order)]


def _number(operation: str) -> int:
    return number(operation, "op") or 0


def _order(key: tuple[str, str, int]) -> tuple[int, int, int]:
    variable, operation, index = key
    return (number(variable, "v") or 0, _number(operation), index)


def _reversed(state: Backward) -> dict[str, list[str]]:
    """Each relevant operation with the operations that use its output."""
    program = state.program
    relevant: set[str] = set()
    stack = [loss for loss in state.losses if loss in state.wanted]
    while stack:
        operation = program.operation_of(stack.pop())
        if operation is None or operation.id in relevant:
            continue
        relevant.add(operation.id)
        stack.extend(s for s in operation.sources if s in state.wanted)
    graph: dict[str, list[str]] = {o: [] for o in relevant}
    for user in relevant:
        for source in program.operations[user].sources:
            made_by = program.operation_of(source) if source in state.wanted else None
            if made_by is not None and made_by.id in relevant:
                graph[made_by.id].append(user)
    return graph


def _visit(work: RunContext, state: Backward, operation: Operation) -> Awaitable[None] | None:
    inputs = [s for s in operation.sources if s in state.wanted]
    if operation.output in state.losses:
        _seed(state, operation)
    backwards = find(operation.kind).backwards
    if backwards == "split":
        _to_parts(state, operation, inputs)
        return None
    if backwards == "pass on" and not state.plan.exact:
        _pass_through(state, operation, inputs)
        return None
    return _ask(work, state, operation, inputs)


def _seed(state: Backward, operation: Operation) -> None:
    """A loss starts with its own critique, where it found something to improve."""
    for example in _examples(state, operation.output):
        _criticise(state, operation, operation.output, example)


def _to_parts(state: Backward, operation: Operation, inputs: list[str]) -> None:
    """Each loss in a sum starts with its own critique."""
    for example in _examples(state, operation.output):
        if state.feedback(operation.output, example):
            for source in inputs:
                _criticise(state, operation, source, example)


def _criticise(state: Backward, operation: Operation, loss: str, example: int) -> None:
    if not state.evaluation.has(loss, example):
        return
    value = state.evaluation.value(loss, example)
    solved = value.score is not None and value.score >= 1
    if value.text.strip() and not solved:
        _tell(state, operation, loss, example, value.text)


def _examples(state: Backward, variable: str) -> Sequence[int]:
    return state.examples if state.program.variables[variable].per_example else (NO_EXAMPLE,)


def _tell(
    state: Backward, operation: Operation, variable: str, example: int, feedback: str
) -> None:
    node = (variable, example_of(state.program.variables[variable], example))
    state.collected.setdefault(node, {}).setdefault(operation.id, []).append(feedback)


def _pass_through(state: Backward, operation: Operation, inputs: list[str]) -> None:
    """Feedback on the output of a template or of a loss is feedback on its inputs."""
    for example in _examples(state, operation.output):
        for said in state.feedback(operation.output, example):
            for source in inputs:
                if state.program.variables[source].is_leaf:
                    _gradient(state, operation, source, [example], said)
                else:
                    _tell(state, operation, source, example, said)


def _gradient(
    state: Backward, operation: Operation, variable: str, examples: Sequence[int], said: str
) -> None:
    key = (variable, operation.id, len(state.gradients))
    state.gradients[key] = Gradient(
        variable=variable,
        version=state.program.variables[variable].version,
        text=said,
        examples=[f"e{n}" for n in examples if n != NO_EXAMPLE],
        batch=[f"e{n}" for n in state.examples if n != NO_EXAMPLE],
        operation=operation.id,
        losses=state.losses,
        exact=state.plan.exact,
    )


async def _ask(work: RunContext, state: Backward, operation: Operation, inputs: list[str]) -> None:
    criticised = [
        n for n in _examples(state, operation.output) if state.feedback(operation.output, n)
    ]
    if not criticised or not inputs:
        return
    if state.plan.direct:
        _hand_on(state, operation, inputs, criticised)
        return
    if state.plan.exact:
        jobs = [([example], [source]) for example in criticised for source in inputs]
    else:
        jobs = [(group, inputs) for group in _groups(state, operation, criticised)]
    replies = await gather([_reply(work, state, operation, *job) for job in jobs])
    for (group, sources), reply in zip(jobs, replies, strict=True):
        for source in sources:
            _spread(state, operation, source, group, reply)


def _hand_on(
    state: Backward, operation: Operation, inputs: list[str], criticised: list[int]
) -> None:
    for example in criticised:
        material = _material(state, operation, example)
        said = "\n".join(f"{name.capitalize()}: {value}" for name, value in material.items())
        for source in inputs:
            if state.program.variables[source].kind is Kind.PARAMETER:
                _gradient(state, operation, source, [example], said)
            else:
                for feedback in state.feedback(operation.output, example):
                    _tell(state, operation, source, example, feedback)


def _groups(state: Backward, operation: Operation, examples: list[int]) -> list[list[int]]:
    """Examples in their order, cut into groups of nearly equal size within the budget."""
    budget = state.plan.tokens * CHARS_PER_TOKEN
    sizes = [
        sum(len(t) for t in _material(state, operation, n).values())
        + PICTURE * CHARS_PER_TOKEN * len(state.evaluation.inputs(operation, n).images)
        for n in examples
    ]
    least = max(-(-len(examples) // state.plan.group_size), -(-sum(sizes) // budget), 1)
    width = -(-len(examples) // least)
    groups: list[list[int]] = []
    used = 0
    for example, size in zip(examples, sizes, strict=True):
        if not groups or len(groups[-1]) >= width or used + size > budget:
            groups.append([])
            used = 0
        groups[-1].append(example)
        used += size
    return groups


def _material(state: Backward, operation: Operation, example: int) -> dict[str, str]:
    """What is shown of one example: the operation's inputs, its output and the feedback on it."""
    inputs = state.evaluation.inputs(operation, example)
    shown = find(operation.kind).shown(operation, inputs)
    shown["output"] = state.evaluation.value(operation.output, example).text
    shown["feedback"] = "\n\n".join(state.feedback(operation.output, example))
    budget = state.plan.tokens * CHARS_PER_TOKEN
    return {name: shorten(t, budget // (len(shown) + 1)) for name, t in shown.items()}


async def _reply(
    work: RunContext,
    state: Backward,
    operation: Operation,
    group: list[int],
    sources: list[str],
) -> dict[str, str]:
    keys = _keys(state, sources, group)
    asked = object_schema({key: {"type": "string"} for key in (RULE, *keys)})
    needed = asked | {"required": keys}
    shown = [i for n in group for i in state.evaluation.inputs(operation, n).images.values()]
    images = tuple(dict.fromkeys(shown))
    prompt = _prompt(state, operation, group, sources, pictures=bool(images))
    request = CompletionRequest(
        purpose=Purpose.GRADIENT,
        messages=(
            Message(role="system", content=text("gradient")),
            Message(role="user", content=prompt, images=images),
        ),
        reply=asked,
        about=f"feedback on {', '.join(sources)} through {operation.id}"
        + (f" from {', '.join(f'e{n}' for n in group)}" if group[0] != NO_EXAMPLE else ""),
    )

    def read(completion: Completion) -> dict[str, str]:
        said = parse_object(completion.text, needed, material=prompt)
        return {k: str(v).strip() for k, v in said.items()}

    return await work.ask(request, read)


def _shared(state: Backward, source: str) -> bool:
    return not state.program.variables[source].per_example


def _keys(state: Backward, sources: list[str], group: list[int]) -> list[str]:
    keys = []
    for source in sources:
        keys += (
            [source] if _shared(state, source) else [f"{source} e{example}" for example in group]
        )
    return keys


def _prompt(
    state: Backward, operation: Operation, group: list[int], sources: list[str], *, pictures: bool
) -> str:
    variables = state.program.variables
    materials = {example: _material(state, operation, example) for example in group}
    shared = {s: state.evaluation.value(s, group[0]).text for s in sources if _shared(state, s)}
    fence = Fence([*shared.values(), *(t for m in materials.values() for t in m.values())])
    parts = [find(operation.kind).describe(operation)]
    for source, value in shared.items():
        title = sentence("labels", "source", id=source, names=_as(operation, source))
        parts.append(f"{title}\n" + fence.wrap("text", value, role=variables[source].role))
    for example, material in materials.items():
        if example != NO_EXAMPLE:
            parts.append(sentence("labels", "example", example=f"e{example}"))
        parts += [fence.wrap(name.replace(" ", "-"), t) for name, t in material.items()]
    if pictures:
        parts.append(text("gradient_pictures"))
    parts.append(_asked(state, operation, group, sources))
    return "\n\n".join(parts)


def _as(operation: Operation, source: str) -> str:
    names = [name for name, v in operation.inputs.items() if v == source]
    if source == operation.system:
        names.append(sentence("labels", "system"))
    return " and ".join(names)


def _asked(state: Backward, operation: Operation, group: list[int], sources: list[str]) -> str:
    lines = []
    for source in sources:
        v = state.program.variables[source]
        if _shared(state, source):
            which = "ask_all" if group[0] != NO_EXAMPLE else "ask_one"
            lines.append(sentence("labels", which, id=source, role=v.role))
        else:
            names = _as(operation, source)
            lines.append(sentence("labels", "ask_each", id=source, role=v.role, names=names))
    keys = _keys(state, sources, group)
    form = ", ".join(sentence("labels", "ask_form", key=key) for key in keys)
    on = [state.program.variables[source] for source in sources]
    asked = text("gradient_ask", names=" and ".join(sources), keys=form)
    parts = [sentence("labels", "ask") + "\n" + "\n".join(lines)]
    return "\n\n".join([*parts, *quoting.in_feedback(on, measured=state.measured), asked])


def _spread(
    state: Backward, operation: Operation, source: str, group: list[int], reply: dict[str, str]
) -> None:
    v = state.program.variables[source]
    if v.kind is Kind.PARAMETER:
        if reply[source]:
            _gradient(state, operation, source, group, reply[source])
        return
    for example in [NO_EXAMPLE] if _shared(state, source) else group:
        said = reply[source if _shared(state, source) else f"{source} e{example}"]
        if said:
            _tell(state, operation, source, example, said)
