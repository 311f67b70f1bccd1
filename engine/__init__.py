"""Textual autograd. Knows no MCP: the server calls it, and it calls nobody above it.

What stands in `__all__` is the public surface: it is loaded when it is first used, and it stays.
docs/extending.md shows what can be added to the engine, and how a program uses it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..schemas.completions import Completion as Completion
    from ..schemas.completions import CompletionRequest as CompletionRequest
    from ..schemas.completions import Message as Message
    from ..schemas.completions import Purpose as Purpose
    from ..schemas.errors import AnswererError as AnswererError
    from ..schemas.errors import BadInput as BadInput
    from ..schemas.errors import BudgetExhausted as BudgetExhausted
    from ..schemas.errors import Conflict as Conflict
    from ..schemas.errors import CutOff as CutOff
    from ..schemas.errors import EndpointDown as EndpointDown
    from ..schemas.errors import EndpointRefused as EndpointRefused
    from ..schemas.errors import ExampleError as ExampleError
    from ..schemas.errors import ExampleRefused as ExampleRefused
    from ..schemas.errors import ExtensionFailed as ExtensionFailed
    from ..schemas.errors import InternalError as InternalError
    from ..schemas.errors import NotFound as NotFound
    from ..schemas.errors import Outdated as Outdated
    from ..schemas.errors import ProgramFailed as ProgramFailed
    from ..schemas.errors import PromptRefused as PromptRefused
    from ..schemas.errors import QuotaExceeded as QuotaExceeded
    from ..schemas.errors import ReplyError as ReplyError
    from ..schemas.errors import StoreBusy as StoreBusy
    from ..schemas.errors import StoreError as StoreError
    from ..schemas.errors import TextGradError as TextGradError
    from ..schemas.errors import TooLong as TooLong
    from ..schemas.graph import Gradient as Gradient
    from ..schemas.graph import Operation as Operation
    from ..schemas.graph import Value as Value
    from ..schemas.graph import Variable as Variable
    from ..schemas.settings import EvaluatorSettings as EvaluatorSettings
    from ..schemas.settings import RoleSettings as RoleSettings
    from ..schemas.settings import Settings as Settings
    from .answerers import Answerer as Answerer
    from .answerers import Go as Go
    from .answerers import RecordAttempt as RecordAttempt
    from .constraints.rules import Constraint as Constraint
    from .constraints.rules import Rule as Rule
    from .engine import Engine as Engine
    from .metrics.base import Metric as Metric
    from .metrics.base import Options as Options
    from .opening import open_engine as open_engine
    from .optimizer.candidate import Candidate as Candidate
    from .optimizer.candidate import Check as Check
    from .optimizer.seen import Seen as Seen
    from .optimizer.strategies import Strategy as Strategy
    from .program.operations.base import Inputs as Inputs
    from .program.operations.base import Loss as Loss
    from .program.operations.base import Primitive as Primitive
    from .runs.context import RunContext as RunContext
    from .runs.runner import Caller as Caller

_PLACES = {
    "..schemas.completions": "Completion CompletionRequest Message Purpose",
    "..schemas.errors": (
        "AnswererError BadInput BudgetExhausted Conflict CutOff EndpointDown EndpointRefused "
        "ExampleError ExampleRefused ExtensionFailed InternalError NotFound Outdated "
        "ProgramFailed PromptRefused QuotaExceeded ReplyError StoreBusy StoreError "
        "TextGradError TooLong"
    ),
    "..schemas.graph": "Gradient Operation Value Variable",
    "..schemas.settings": "EvaluatorSettings RoleSettings Settings",
    ".answerers": "Answerer Go RecordAttempt",
    ".constraints.rules": "Constraint Rule",
    ".engine": "Engine",
    ".metrics.base": "Metric Options",
    ".opening": "open_engine",
    ".optimizer.candidate": "Candidate Check",
    ".optimizer.seen": "Seen",
    ".optimizer.strategies": "Strategy",
    ".program.operations.base": "Inputs Loss Primitive",
    ".runs.context": "RunContext",
    ".runs.runner": "Caller",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}
__all__ = [
    "Answerer",
    "AnswererError",
    "BadInput",
    "BudgetExhausted",
    "Caller",
    "Candidate",
    "Check",
    "Completion",
    "CompletionRequest",
    "Conflict",
    "Constraint",
    "CutOff",
    "EndpointDown",
    "EndpointRefused",
    "Engine",
    "EvaluatorSettings",
    "ExampleError",
    "ExampleRefused",
    "ExtensionFailed",
    "Go",
    "Gradient",
    "Inputs",
    "InternalError",
    "Loss",
    "Message",
    "Metric",
    "NotFound",
    "Operation",
    "Options",
    "Outdated",
    "Primitive",
    "ProgramFailed",
    "PromptRefused",
    "Purpose",
    "QuotaExceeded",
    "RecordAttempt",
    "ReplyError",
    "RoleSettings",
    "Rule",
    "RunContext",
    "Seen",
    "Settings",
    "StoreBusy",
    "StoreError",
    "Strategy",
    "TextGradError",
    "TooLong",
    "Value",
    "Variable",
    "open_engine",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACE_OF[name], __name__), name)
