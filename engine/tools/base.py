"""What every tool is: something that is called with its caller and arguments."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from ...schemas.arguments.base import Arguments
from ...schemas.results import Result
from ..runs.runner import Caller
from .lookup import Parts

A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Result)


class Tool(ABC, Generic[A, R]):
    """One tool. `arguments` is the model of what it takes: names, types, defaults, bounds."""

    arguments: type[A]

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.__signature__ = _signature(self.arguments)

    async def __call__(self, caller: Caller, args: A | None = None, /, **given: Any) -> R:
        """Use the tool, with the arguments by name, or as one. Raises TextGradError: BadInput for
        arguments that do not fit their model, and what `run` raises."""
        return await self.run(caller, self.arguments.of(given) if args is None else args)

    @abstractmethod
    async def run(self, caller: Caller, args: A) -> R:
        """What the tool does with arguments that fit. Raises TextGradError."""


def _signature(arguments: type[Arguments]) -> inspect.Signature:
    """How a tool is called, for `help` and for editors in a running Python."""
    caller = inspect.Parameter("caller", inspect.Parameter.POSITIONAL_ONLY, annotation=Caller)
    fields = inspect.signature(arguments).parameters.values()
    return inspect.Signature([caller, *fields])
