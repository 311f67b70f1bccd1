"""The tool that begins: a program, its examples and its first score from one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import Field

from ...schemas.results import Result
from .argument_types import Number, Rows, Whole
from .calls import answer as answered

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.runs.runner import Caller


async def optimize_prompt(
    ctx: Context[Any, Any],
    prompt: Annotated[
        str | None,
        Field(description="The text as it is now. Default: the one that a log was held under."),
    ] = None,
    examples: Annotated[
        Rows | str | None,
        Field(description="Rows [{field: text}], JSON Lines or CSV. None: the text itself counts."),
    ] = None,
    path: Annotated[str | None, Field(description="Or a data file.")] = None,
    file: Annotated[
        str | None, Field(description="Instead of prompt: its file in the workspace.")
    ] = None,
    write: Annotated[bool, Field(description="Write accepted versions to file.")] = False,
    metric: str | None = None,
    options: dict[str, Any] | None = None,
    judge: Annotated[
        str | None, Field(description="Instead of metric: what is good and bad, for a model.")
    ] = None,
    evaluator: str | None = None,
    tests: Annotated[
        str | None, Field(description="Instead: what you run on it and report.")
    ] = None,
    feedback: Annotated[str | None, Field(description="What the tests say now, if known.")] = None,
    score: Annotated[Number | None, Field(description="Share of them that pass.")] = None,
    answer: Annotated[
        str | None, Field(description="Field with the right answer, if no name tells.")
    ] = None,
    fields: Annotated[
        list[str] | None, Field(description="Fields the prompt gets. Default: the others.")
    ] = None,
    role: Annotated[
        str | None, Field(description="What the text is for, in 2,000 characters.")
    ] = None,
    context: Annotated[
        str | None,
        Field(description="No metric: the task, at any length; judge and rewriter see it."),
    ] = None,
    constraints: list[str] | None = None,
    steps: Annotated[Whole, Field(description="Go on to optimize with so many steps.")] = 0,
    seed: Whole = 0,
) -> CallToolResult:
    """Begin here, with a prompt on examples, a text with a judge, or code with its tests: builds
    the program, splits the examples, measures the start, says what there is to gain and what it
    costs. All ids go on into the other tools.
    """

    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.optimize_prompt(
            caller,
            prompt=prompt,
            examples=examples,
            path=path,
            file=file,
            write=write,
            metric=metric,
            options=options,
            judge=judge,
            evaluator=evaluator,
            tests=tests,
            feedback=feedback,
            score=score,
            answer=answer,
            fields=fields,
            role=role,
            context=context,
            constraints=constraints or [],
            steps=steps,
            seed=seed,
        )

    return await answered(ctx, call)
