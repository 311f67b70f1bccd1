"""The tools, as a model sees them: names, descriptions and arguments. Each calls the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field, WithJsonSchema

from ...schemas.errors import BadInput
from ...schemas.results import (
    BackwardResult,
    EvaluateResult,
    ExamplesResult,
    ForwardResult,
    InspectResult,
    OptimizeResult,
    PromptResult,
    Result,
    StepResult,
    VariableResult,
)
from .argument_types import Examples, Inputs, Memory, Number, Rows, Session, Whole
from .begin import optimize_prompt
from .calls import answer

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.runs.runner import Caller


def _one_of(*names: str) -> WithJsonSchema:
    """Names that the engine checks: installed packages may add some (see `additions`)."""
    return WithJsonSchema({"enum": list(names), "type": "string"})


Operation = Annotated[str, _one_of("llm", "format", "external")]
Loss = Annotated[str, _one_of("judge", "metric", "evaluator", "feedback", "sum")]
Strategy = Annotated[str, _one_of("gradient", "reflect", "rewrite", "exact")]


async def create_variable(
    ctx: Context[Any, Any],
    role: Annotated[
        str,
        Field(description="What the text is for, in 2,000 characters; feedback is written by it."),
    ],
    value: Annotated[str | None, Field(description="The text (or an image data URL).")] = None,
    session_id: Annotated[
        str | None, Field(description="Leave out to start a session; the result has its id.")
    ] = None,
    requires_grad: Annotated[
        bool, Field(description="true: a parameter, to be improved. false: a constant.")
    ] = True,
    constraints: Annotated[
        list[str] | None,
        Field(
            description="Rules for new versions: free words, or checked by code: max_chars=N, "
            "max_words=N, max_tokens=N, contains=TEXT, keep=TEXT, max_change=0.3, "
            "parses=json|python, placeholders=keep, examples=no_copy."
        ),
    ] = None,
    example_field: Annotated[
        str | None, Field(description="Instead of value: the field of the examples that feeds it.")
    ] = None,
    reference: Annotated[
        bool, Field(description="A right answer: only losses may read it.")
    ] = False,
    demonstrations: Annotated[
        Whole | None,
        Field(description="Instead of value: so many training examples, chosen by step."),
    ] = None,
    name: str = "",
    file: Annotated[
        str | None,
        Field(description="Instead of value: a file's path in the operator's workspace."),
    ] = None,
    write: Annotated[
        bool, Field(description="file: write accepted versions to it (the old are kept).")
    ] = False,
) -> CallToolResult:
    """Add a text to a session's graph: a parameter to improve, a constant, or an example field.
    Without session_id it starts a session (kept until deleted; the id is the key to it).
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.create_variable(
            caller,
            role=role,
            value=value,
            session_id=session_id,
            requires_grad=requires_grad,
            constraints=constraints or [],
            example_field=example_field,
            reference=reference,
            demonstrations=demonstrations,
            name=name,
            file=file,
            write=write,
        )

    return await answer(ctx, call)


async def forward(
    ctx: Context[Any, Any],
    session_id: Session,
    operation: Annotated[
        Operation | None,
        Field(
            description="llm: call the model. format: fill the template. external: a black box "
            "that you run. Leave out to recompute what is stale."
        ),
    ] = None,
    inputs: Inputs | None = None,
    template: Annotated[
        str | None,
        Field(description="Prompt with {name} for each input. llm with one input needs none."),
    ] = None,
    system: Annotated[str | None, Field(description="Variable id of the system prompt.")] = None,
    function: Annotated[str | None, Field(description="external: what it does.")] = None,
    output: Annotated[
        str | None, Field(description="external: its output, if you have run it already.")
    ] = None,
    role: Annotated[str, Field(description="Role of the output.")] = "",
    name: str = "",
    examples: Examples = None,
) -> CallToolResult:
    """Add an operation to the program and compute its output variable, for every example in use.
    The program is kept: after a step, forward(session_id) alone recomputes all that is stale,
    losses too.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.forward(
            caller,
            session_id=session_id,
            operation=operation,
            inputs=inputs,
            template=template,
            system=system,
            function=function,
            output=output,
            role=role,
            name=name,
            examples=examples,
        )

    return await answer(ctx, call)


async def compute_loss(
    ctx: Context[Any, Any],
    session_id: Session,
    kind: Annotated[
        Loss,
        Field(
            description="judge: a model criticises. metric: code compares output with answer. "
            "evaluator: a program of the operator. feedback: what you measured. sum: of losses."
        ),
    ],
    inputs: Inputs,
    instruction: Annotated[
        str | None, Field(description="judge: what is good and bad. feedback: how to measure it.")
    ] = None,
    metric: Annotated[
        str | None,
        Field(
            description="exact_match, contains, regex, numeric, multiple_choice, json_valid, "
            "json_schema, json_match, f1 or edit_similarity; inputs output and answer."
        ),
    ] = None,
    options: Annotated[
        dict[str, Any] | None,
        Field(
            description="exact_match: ignore_case=true, ignore_whitespace, ignore_punctuation. "
            "numeric: absolute_tolerance, relative_tolerance. regex: pattern. json_schema: schema."
        ),
    ] = None,
    evaluator: Annotated[str | None, Field(description="evaluator: its name.")] = None,
    feedback: Annotated[
        str | None, Field(description="feedback: what you found, in words.")
    ] = None,
    score: Annotated[Number | None, Field(description="feedback: 0 to 1, if there is one.")] = None,
    graded: Annotated[bool, Field(description="judge: give a score, too.")] = True,
    weights: Annotated[dict[str, Number] | None, Field(description="sum: by input name.")] = None,
    name: str = "",
    examples: Examples = None,
) -> CallToolResult:
    """Judge an output: adds a loss (feedback, a score from 0 to 1, or both) and computes it for
    every example in use. A judge sees all inputs, constants (a policy) too.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.compute_loss(
            caller,
            session_id=session_id,
            kind=kind,
            inputs=inputs,
            instruction=instruction,
            metric=metric,
            options=options,
            evaluator=evaluator,
            feedback=feedback,
            score=score,
            graded=graded,
            weights=weights,
            name=name,
            examples=examples,
        )

    return await answer(ctx, call)


async def backward(
    ctx: Context[Any, Any],
    session_id: Session,
    losses: Annotated[
        list[str] | None, Field(description="Ids of losses. Default: the only one.")
    ] = None,
    examples: Examples = None,
    exact: Annotated[
        bool, Field(description="One call for each edge and example, as in the paper.")
    ] = False,
) -> CallToolResult:
    """Write feedback (textual gradients) on every parameter upstream of the losses. Recomputes
    what is stale first; replaces gradients that no step has used.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.backward(
            caller, session_id=session_id, losses=losses, examples=examples, exact=exact
        )

    return await answer(ctx, call)


async def step(
    ctx: Context[Any, Any],
    session_id: Session,
    variables: Annotated[
        list[str] | None, Field(description="Parameters. Default: all with gradients.")
    ] = None,
    accept: Annotated[
        Literal["always", "if_better", "never"],
        Field(
            description="if_better: install only what is better beyond noise on validation "
            "examples (a program without examples: by the loss). never: propose only."
        ),
    ] = "always",
    candidates: Annotated[Whole, Field(description="Proposals, 1 to 16.")] = 1,
    memory: Memory = 0,
    strategy: Annotated[
        Literal["gradient", "reflect"],
        Field(description="reflect: without backward."),
    ] = "gradient",
) -> CallToolResult:
    """Rewrite parameters from their gradients. The gradients are spent; every version is kept and
    revert undoes it.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.step(
            caller,
            session_id=session_id,
            variables=variables,
            accept=accept,
            candidates=candidates,
            memory=memory,
            strategy=strategy,
        )

    return await answer(ctx, call)


async def add_examples(
    ctx: Context[Any, Any],
    session_id: Session,
    split: Annotated[
        Literal["train", "validation", "test"],
        Field(description="train: learnt from. validation: steps are gated on it. test: held out."),
    ],
    examples: Annotated[
        Rows | dict[str, Any] | str | None,
        Field(
            description="Rows [{field: text}], or a text of JSON Lines or CSV. "
            "{'e7': {field: text}} mends e7."
        ),
    ] = None,
    path: Annotated[
        str | None,
        Field(description="Or a file in the operator's data directory: JSON, CSV, Excel, Parquet."),
    ] = None,
) -> CallToolResult:
    """Load examples into a split. Variables made with example_field are fed from them."""

    async def call(engine: Engine, caller: Caller) -> Result:
        changes = engine.mend.changes_in(examples)
        if changes is not None and path is None:
            return await engine.mend(caller, session_id=session_id, split=split, changes=changes)
        given = cast("list[Any] | str | None", examples)
        return await engine.add_examples(
            caller, session_id=session_id, split=split, examples=given, path=path
        )

    return await answer(ctx, call)


async def evaluate(
    ctx: Context[Any, Any],
    session_id: Session,
    loss: Annotated[str | None, Field(description="Default: the only one.")] = None,
    split: Literal["train", "validation", "test"] = "validation",
    votes: Annotated[Whole, Field(description="Runs of each example; the majority counts.")] = 1,
) -> CallToolResult:
    """Run the program on a split: mean score with its error, and the worst failures."""

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.evaluate(
            caller, session_id=session_id, loss=loss, split=split, votes=votes
        )

    return await answer(ctx, call)


async def optimize(
    ctx: Context[Any, Any],
    session_id: Session,
    loss: Annotated[str | None, Field(description="Default: the only one.")] = None,
    variables: Annotated[list[str] | None, Field(description="Parameters. Default: all.")] = None,
    steps: Annotated[Whole, Field(description="Most steps.")] = 10,
    batch_size: Annotated[Whole | None, Field(description="Training examples a step.")] = None,
    candidates: Annotated[Whole | None, Field(description="Proposals a step.")] = None,
    strategy: Annotated[
        Strategy | None,
        Field(
            description="reflect: one call sees the examples and writes all proposals. "
            "rewrite: a baseline. exact: as in the paper."
        ),
    ] = None,
    parents: Annotated[
        Literal["newest", "best", "pareto"] | None,
        Field(description="What to rewrite; pareto: best on some example."),
    ] = None,
    goal: Annotated[Number, Field(description="Stop at this validation score.")] = 1.0,
    patience: Annotated[Whole | None, Field(description="Most steps without gain.")] = None,
    budget: Annotated[
        dict[str, Number] | None,
        Field(description="Most calls, tokens, cost (dollars), seconds."),
    ] = None,
    memory: Memory = 0,
    together: Annotated[bool, Field(description="false: one parameter a step, in turn.")] = True,
    seed: Whole = 0,
) -> CallToolResult:
    """Run the whole loop: minibatch, forward, loss, backward, step, gate on validation. Call it
    again, or resume, to go on.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.optimize(
            caller,
            session_id=session_id,
            loss=loss,
            variables=variables,
            steps=steps,
            batch_size=batch_size,
            candidates=candidates,
            strategy=strategy,
            parents=parents,
            goal=goal,
            patience=patience,
            budget=budget,
            memory=memory,
            together=together,
            seed=seed,
        )

    return await answer(ctx, call)


async def resume(
    ctx: Context[Any, Any],
    session_id: Session,
    completions: Annotated[
        dict[str, Any] | None,
        Field(description="Pending id -> your answer (text, or an object where JSON is asked)."),
    ] = None,
    cancel: Annotated[bool, Field(description="Drop the run; what was answered is kept.")] = False,
    brief: Annotated[
        bool,
        Field(description="Name, not repeat, what you have read; false if others answer for you."),
    ] = False,
) -> CallToolResult:
    """Go on with the session's run: hand in pending completions (some or all), wait for a running
    one, retry a failed one, or cancel it.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.resume(
            caller, session_id=session_id, completions=completions, cancel=cancel
        )

    return await answer(ctx, call, brief=brief, lasting=bool(completions))


async def inspect(
    ctx: Context[Any, Any],
    session_id: Annotated[str | None, Field(description="Leave out to list sessions.")] = None,
    what: Annotated[
        Literal[
            "session",
            "graph",
            "variable",
            "gradients",
            "steps",
            "examples",
            "runs",
            "calls",
            "call",
            "report",
        ]
        | None,
        Field(description="Default: the session, or what id names."),
    ] = None,
    id: Annotated[  # noqa: A002 - the contract's name
        str | None,
        Field(description="v3; v3@2 (its change); v3@1..4 (diff); c7; e5; g2; p4; op1."),
    ] = None,
    offset: Annotated[Whole, Field(description="Where to go on.")] = 0,
) -> CallToolResult:
    """Read sessions, graph, texts with versions and diffs, gradients, proposals, examples, calls,
    cost.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.inspect(caller, session_id=session_id, what=what, id=id, offset=offset)

    return await answer(ctx, call)


async def revert(
    ctx: Context[Any, Any],
    session_id: Session,
    variable: str | None = None,
    version: Annotated[
        Whole | str | None,
        Field(
            description="Version, or proposal (p4) that was refused. Leave out to re-read the file."
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        Field(description="Take out v7, op3, e12 and all made from them."),
    ] = None,
    confirm: Annotated[bool, Field(description="false: only say what would go.")] = False,
) -> CallToolResult:
    """Make an earlier version, or a proposal, the newest version of a text; or remove mistakes."""

    async def call(engine: Engine, caller: Caller) -> Result:
        if remove is not None and (variable is None and version is None):
            return await engine.remove(caller, session_id=session_id, ids=remove, confirm=confirm)
        if variable is None or remove is not None:
            raise BadInput(
                "Give either variable, to change its text, or remove.",
                "revert(session_id, variable='v1', version=2), or remove=['v7'].",
            )
        return await engine.revert(
            caller, session_id=session_id, variable=variable, version=version
        )

    return await answer(ctx, call)


Tool = Callable[..., Awaitable[CallToolResult]]


def _marks(
    title: str,
    *,
    read: bool = False,
    idempotent: bool = False,
    world: bool = False,
    destructive: bool = False,
) -> ToolAnnotations:
    return ToolAnnotations(
        title=title,
        read_only_hint=read,
        destructive_hint=destructive,
        idempotent_hint=read or idempotent,
        open_world_hint=world,
    )


TOOLS: list[tuple[Tool, type[Result], ToolAnnotations]] = [
    (optimize_prompt, PromptResult, _marks("Optimise a prompt", world=True)),
    (create_variable, VariableResult, _marks("Create a variable")),
    (forward, ForwardResult, _marks("Forward", world=True)),
    (compute_loss, ForwardResult, _marks("Compute a loss", world=True)),
    (backward, BackwardResult, _marks("Backward", idempotent=True, world=True)),
    (step, StepResult, _marks("Step", world=True)),
    (add_examples, ExamplesResult, _marks("Add examples", idempotent=True)),
    (evaluate, EvaluateResult, _marks("Evaluate", idempotent=True, world=True)),
    (optimize, OptimizeResult, _marks("Optimize", world=True)),
    (resume, Result, _marks("Resume", idempotent=True, world=True)),
    (inspect, InspectResult, _marks("Inspect", read=True)),
    (revert, VariableResult, _marks("Revert", idempotent=True, destructive=True)),
]
