"""The engine: its parts, and one attribute a tool."""

from __future__ import annotations

from ..schemas.completions import Role
from ..schemas.errors import TextGradError
from ..schemas.results import (
    BackwardResult,
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    Result,
    StepResult,
)
from ..schemas.settings import Settings
from .answerers import Answerer
from .runs.context import RunContext
from .runs.runner import Body
from .store import Store
from .tools.add_examples import AddExamples
from .tools.backward import Backward
from .tools.compute_loss import ComputeLoss
from .tools.create_variable import CreateVariable
from .tools.evaluate import Evaluate
from .tools.forward import Forward
from .tools.inspect import Inspect
from .tools.lookup import Parts
from .tools.mend import Mend
from .tools.optimize import Optimize
from .tools.remove import Remove
from .tools.resume import Resume
from .tools.revert import Revert
from .tools.step import Step


class Engine:
    """Textual gradient descent over stored programs: one attribute a tool. Close it when done."""

    def __init__(self, settings: Settings, store: Store, answerers: dict[Role, Answerer]) -> None:
        parts = self.parts = Parts(settings, store, answerers)
        self.settings, self.store = settings, store
        self.ledger, self.runs = parts.ledger, parts.runs
        self.create_variable = CreateVariable(parts)
        self.forward = Forward(parts)
        self.compute_loss = ComputeLoss(parts)
        self.add_examples = AddExamples(parts)
        self.backward = Backward(parts)
        self.step = Step(parts)
        self.evaluate = Evaluate(parts)
        self.optimize = Optimize(parts)
        self.resume = Resume(parts)
        self.inspect = Inspect(parts)
        self.revert = Revert(parts)
        self.remove = Remove(parts)
        self.mend = Mend(parts)
        self._register()

    async def close(self) -> None:
        """Stop runs (they can be resumed), keep what is being answered, close the file."""
        await self.parts.close()

    def _register(self) -> None:
        """Tell the runs which body continues which tool."""
        self.parts.runs.bodies |= {
            tool: (kind, self._with_files(body))
            for tool, kind, body in (
                ("forward", ForwardResult, self.forward.body),
                ("compute_loss", ForwardResult, self.forward.body),
                ("backward", BackwardResult, self.backward.body),
                ("step", StepResult, self.step.body),
                ("evaluate", EvaluateResult, self.evaluate.body),
                ("optimize", OptimizeResult, self.optimize.body),
            )
        }

    def _with_files(self, body: Body) -> Body:
        """`body` between two looks at the files that parameters are bound to.

        The first refuses a file that was changed outside; the second writes what was accepted.
        """

        async def run(work: RunContext) -> Result:
            bound = await self.parts.reconcile_files(work.session, work.chain)
            result = await body(work)
            if bound and work.tool in ("step", "optimize"):
                try:
                    await work.chain.settled()
                    await self.parts.reconcile_files(work.session)
                except TextGradError as error:  # the step stands; its text is in the session
                    result.notes = [*result.notes, f"Not written to the file: {error}"]
            return result

        return run
