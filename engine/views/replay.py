"""Outputs and scores of any version, read from what is recorded: no call, no endpoint, no write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ...schemas.completions import Completion, CompletionRequest, Purpose
from ...schemas.errors import TextGradError
from ...schemas.graph import NO_EXAMPLE, Run, Session
from ...schemas.settings import Settings
from ..answerers import Answerer
from ..evaluators.evaluators import Evaluators
from ..program.forward import Evaluation, evaluate, load
from ..runs.asker import Asker
from ..runs.context import RunContext
from ..runs.ledger import Ledger
from ..runs.schedule import NotYet
from ..store import Store
from ..workers.pool import Workers
from .comparisons import Comparisons

MOST = 200
"""Places that are replayed at once."""


@dataclass(frozen=True)
class Replayed:
    """What a program made of one example: `outputs` by the loss's input names, and the loss.

    `missing` says in words why there is no score: never asked, or no usable reply.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    feedback: str = ""
    score: float | None = None
    missing: str = ""


class Recorded(Ledger):
    """A ledger that only reads. `keys` are those of the replies that were used."""

    def __init__(self, store: Store, addresses: Sequence[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(store, {})
        self.keys: dict[str, None] = {}
        self._addresses = list(addresses)

    def addressed(self, request: CompletionRequest) -> CompletionRequest:
        """The request as it is: whom it went to is looked up."""
        return request

    async def need(
        self, work: Asker, request: CompletionRequest, answerer: Answerer | None = None
    ) -> Completion:
        """The recorded completion, whoever gave it. Raises NotYet where there is none."""
        for one in self._spellings(request):
            known = await self.store.calls.answered(work.session.pk, one.key)
            if known is not None:
                self.keys[one.key] = None
                return known
        raise NotYet

    def _spellings(self, request: CompletionRequest) -> list[CompletionRequest]:
        """The request as every model of the session would have been asked it."""
        if request.purpose is Purpose.EXTERNAL or request.model:
            return [request]
        return [
            request.model_copy(update={"model": model, "params": params | request.params})
            for model, params in self._addresses
        ]


class Unchanged:
    """A store through which nothing is noted: a reply that cannot be used stays as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    async def set_unusable(self, session: int, key: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Reader:
    """What reading takes: what is recorded, who computes the metrics, and what was compared."""

    store: Store
    settings: Settings
    workers: Workers
    comparisons: Comparisons = field(default_factory=Comparisons)


async def replay(
    reader: Reader,
    session: Session,
    loss: str,
    examples: Sequence[int],
    texts: Mapping[str, str],
    *,
    trace: bool = False,
) -> tuple[dict[int, Replayed], list[str]]:
    """What the program made of each example with `texts` in place of its parameters' own, and the
    keys of the replies that were read for it, with `trace` of all that stand behind it. At most
    MOST examples are taken."""
    store, settings = reader.store, reader.settings
    work = RunContext(
        session=session,
        run=Run(id="r0", session_id=session.id, tool="evaluate", args={}, status="running"),
        store=cast(Store, Unchanged(store)),
        ledger=Recorded(store, await store.overview.addresses(session.pk)),
        evaluators=Evaluators(settings.evaluators),
        settings=settings,
        workers=reader.workers,
    )
    found: dict[int, Replayed] = {}
    evaluation = await load(work, [loss], list(examples)[:MOST], overrides=texts)
    if trace:
        evaluation.known = {}
    # One by one: where something was never asked, the others are not to be held back by it.
    for example in list(examples)[:MOST]:
        found[example] = await _one(work, evaluation, loss, example)
    return found, list(cast(Recorded, work.ledger).keys)


async def _one(work: RunContext, evaluation: Evaluation, loss: str, example: int) -> Replayed:
    missing = ""
    try:
        await evaluate(work, evaluation, [example], tolerant=True)
    except NotYet:
        missing = "This was never run with these texts."
    except TextGradError as error:
        missing = error.message
    outputs = _outputs(evaluation, loss, example)
    if not missing and evaluation.has(loss, example):
        value = evaluation.value(loss, example)
        return Replayed(outputs, value.text, value.score)
    return Replayed(outputs, missing=missing or _why(evaluation, example))


def _outputs(evaluation: Evaluation, loss: str, example: int) -> dict[str, str]:
    """What the loss judged, of what the program made."""
    operation = evaluation.program.operation_of(loss)
    inputs = operation.inputs.items() if operation else ()
    made = {n: v for n, v in inputs if not evaluation.program.variables[v].is_leaf}
    return {
        n: evaluation.value(v, example).text for n, v in made.items() if evaluation.has(v, example)
    }


def _why(evaluation: Evaluation, example: int) -> str:
    found = [e for (_, n), e in evaluation.unusable.items() if n in (example, NO_EXAMPLE)]
    return found[0].message if found else "There is no usable reply."
