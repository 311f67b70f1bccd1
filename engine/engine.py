"""The engine: its parts, and one attribute a tool."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.errors import TextGradError
from ..schemas.graph import NO_EXAMPLE, Variable
from ..schemas.results import Result
from ..schemas.settings import Settings
from .answerers import Answerer
from .runs import saved_state as saved
from .runs.context import RunContext
from .runs.execution import Body
from .store import Store
from .tools.add_examples import AddExamples
from .tools.backward import Backward
from .tools.base import Tool
from .tools.compute_loss import ComputeLoss
from .tools.create_variable import CreateVariable
from .tools.evaluate import Evaluate
from .tools.forward import Forward
from .tools.inspect import Inspect
from .tools.lookup import Parts
from .tools.mend import Mend
from .tools.optimize import Optimize
from .tools.optimize_prompt import OptimizePrompt
from .tools.read_before import ReadBefore
from .tools.remove import Remove
from .tools.resume import Resume
from .tools.revert import Revert
from .tools.step import Step
from .views.hints import in_file


def in_files(bound: Sequence[Variable], result: Result) -> list[str]:
    """Notes on the files of texts that a step or a run has changed."""
    changed = getattr(result, "variables", [])
    return [told for v in bound if v.id in changed and (told := in_file(v))]


class Engine:
    """Textual gradient descent over stored programs: one attribute a tool. Close it when done."""

    def __init__(self, settings: Settings, store: Store, answerers: dict[str, Answerer]) -> None:
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
        self.read_before = ReadBefore(parts)
        self.inspect = Inspect(parts)
        self.revert = Revert(parts)
        self.remove = Remove(parts)
        self.optimize_prompt = OptimizePrompt(parts)
        self.mend = Mend(parts)
        self.tools = {
            one.arguments.tool: one for one in vars(self).values() if isinstance(one, Tool)
        }
        self._register()

    async def close(self) -> None:
        """Stop runs (they can be resumed), keep what is being answered, close the file."""
        await self.parts.close()

    def _register(self) -> None:
        """Tell the runs which body continues which tool."""
        self.parts.runs.execution.bodies |= {
            tool.arguments.tool: (tool.arguments.result, self._on_what_is_there(body))
            for tool, body in (
                (self.forward, self.forward.body),
                (self.compute_loss, self.forward.body),
                (self.backward, self.backward.body),
                (self.step, self.step.body),
                (self.evaluate, self.evaluate.body),
                (self.optimize, self.optimize.body),
            )
        }

    def _on_what_is_there(self, body: Body) -> Body:
        """`body` between two looks at the files that parameters are bound to.

        The first refuses a file that was changed outside; the second writes what was accepted.
        Before both, a run that is continued is refused where what it is about was taken out.
        """

        async def run(work: RunContext) -> Result:
            if work.continued:
                await self._still_there(work)
            bound = await self.parts.reconcile_files(work.session, work.chain)
            result = await body(work)
            if bound and work.tool in ("step", "optimize"):
                try:
                    await work.chain.settled()
                    bound = await self.parts.reconcile_files(work.session)
                    result.notes = [*result.notes, *in_files(bound, result)]
                except TextGradError as error:  # the step stands; its text is in the session
                    result.notes = [*result.notes, f"Not written to the file: {error}"]
            return result

        return run

    async def _still_there(self, work: RunContext) -> None:
        args, pk = work.args, work.session.pk
        named = [*args.get("targets", []), *args.get("losses", []), *args.get("bound", {})]
        named += [args["loss"]] if "loss" in args and "losses" not in args else []
        named += args.get("variables") or [] if work.tool == "optimize" else []
        places = [p for p in args.get("places", []) if p != NO_EXAMPLE]
        variables = await self.parts.store.graph.variables(pk, named)
        examples = await self.parts.store.examples.get(pk, places)
        gone = [v for v in named if v not in variables]
        gone += [f"e{p}" for p in places if p not in examples]
        if gone:
            raise saved.refused(work.run, f"is about {', '.join(gone[:5])}, no longer there")
