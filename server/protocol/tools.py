"""The tools, as MCP lists and calls them: each is made from the model of what it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, ToolAnnotations

from ...schemas.arguments.add_examples import AddExamplesArguments
from ...schemas.arguments.backward import BackwardArguments
from ...schemas.arguments.base import Arguments
from ...schemas.arguments.compute_loss import ComputeLossArguments
from ...schemas.arguments.create_variable import CreateVariableArguments
from ...schemas.arguments.evaluate import EvaluateArguments
from ...schemas.arguments.forward import ForwardArguments
from ...schemas.arguments.inspect import InspectArguments
from ...schemas.arguments.optimize import OptimizeArguments
from ...schemas.arguments.optimize_prompt import OptimizePromptArguments
from ...schemas.arguments.resume import ResumeArguments
from ...schemas.arguments.revert import RevertArguments
from ...schemas.arguments.shapes import Shape, shape_of
from ...schemas.arguments.step import StepArguments
from ...schemas.errors import TextGradError
from .calls import answer, refusal
from .tool_schema import compact, outline

A = TypeVar("A", bound=Arguments)


async def by_engine(ctx: Context[Any, Any], args: Arguments) -> CallToolResult:
    """What the engine's tool answers to the arguments, as a result of the protocol."""
    return await answer(ctx, lambda engine, caller: engine.tools[args.tool](caller, args))


async def going_on(ctx: Context[Any, Any], args: ResumeArguments) -> CallToolResult:
    """What `resume` makes of the arguments, without what its reader has read, where that is so."""
    return await answer(
        ctx,
        lambda engine, caller: engine.tools[args.tool](caller, args),
        brief=args.brief,
        lasting=bool(args.completions),
    )


@dataclass(frozen=True)
class Offer(Generic[A]):
    """A tool as it is offered to clients: what it takes, what hosts may know of it beforehand, who
    serves a call (raises TextGradError), and whether results are told as JSON, too."""

    arguments: type[A]
    marks: ToolAnnotations
    serve: Callable[[Context[Any, Any], A], Awaitable[CallToolResult]] = by_engine
    structured: bool = True


def marked(
    title: str,
    *,
    read: bool = False,
    idempotent: bool = False,
    world: bool = False,
    destructive: bool = False,
) -> ToolAnnotations:
    """What hosts may know of a tool: whether it only reads, may be called twice, asks models and
    programs outside, takes something away."""
    return ToolAnnotations(
        title=title,
        read_only_hint=read,
        destructive_hint=destructive,
        idempotent_hint=read or idempotent,
        open_world_hint=world,
    )


OFFERS: list[Offer[Any]] = [
    Offer(OptimizePromptArguments, marked("Optimise a prompt", world=True)),
    Offer(CreateVariableArguments, marked("Create a variable")),
    Offer(ForwardArguments, marked("Forward", world=True)),
    Offer(ComputeLossArguments, marked("Compute a loss", world=True)),
    Offer(BackwardArguments, marked("Backward", idempotent=True, world=True)),
    Offer(StepArguments, marked("Step", world=True)),
    Offer(AddExamplesArguments, marked("Add examples", idempotent=True)),
    Offer(EvaluateArguments, marked("Evaluate", idempotent=True, world=True)),
    Offer(OptimizeArguments, marked("Optimize", world=True)),
    Offer(ResumeArguments, marked("Resume", idempotent=True, world=True), going_on),
    Offer(InspectArguments, marked("Inspect", read=True)),
    Offer(RevertArguments, marked("Revert", idempotent=True, destructive=True)),
]
"""The engine's tools, in the order in which they are listed."""


class AsGiven(FuncMetadata):
    """The SDK's model of a tool's arguments, which hands them on as they are: our own models read
    them.

    The SDK would parse any string argument that happens to be JSON, so that a value such as '{"a":
    1}' or 'null' for `str | None` would arrive as something else.
    """

    shapes: dict[str, Shape | None] = {}  # noqa: RUF012 - a model's default is copied
    """What each argument is, for whoever reads it before."""

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        """The arguments, unread, as the one that the handler takes."""
        return {"given": arguments_to_validate}


def offered(offer: Offer[Any]) -> Tool:
    """The tool for the SDK."""
    arguments = offer.arguments

    async def call(ctx: Context[Any, Any], given: dict[str, Any]) -> CallToolResult:
        try:
            return await offer.serve(ctx, arguments.of(given))
        except TextGradError as error:
            return refusal(error)

    # The SDK's own output schema takes long to make, and is thrown away for the outline.
    result = arguments.result if offer.structured else None
    return Tool(
        fn=call,
        name=arguments.tool,
        title=None,
        description=" ".join((arguments.__doc__ or "").split()),
        parameters=compact(arguments),
        fn_metadata=AsGiven(
            arg_model=ArgModelBase,
            output_model=result,
            output_schema=outline(result) if result else None,
            shapes={name: shape_of(field) for name, field in arguments.model_fields.items()},
        ),
        is_async=True,
        context_kwarg="ctx",
        annotations=offer.marks,
    )
