"""What an imported session must mean, so that every tool can work with it later.

The store sees to it that the rows have their types and hang together; here operations are checked
as if they were being made, and what runs remember as if they were being resumed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ...schemas.arguments.backward import BackwardArguments
from ...schemas.arguments.base import Arguments
from ...schemas.arguments.compute_loss import ComputeLossArguments
from ...schemas.arguments.evaluate import EvaluateArguments
from ...schemas.arguments.forward import ForwardArguments
from ...schemas.arguments.optimize import OptimizeArguments
from ...schemas.arguments.step import StepArguments
from ...schemas.errors import BadInput
from ...schemas.graph import NO_EXAMPLE, STEPPED, Kind, Operation
from ...schemas.results import Result
from ..constraints import constraints
from ..extensions.operations import is_loss
from ..optimizer.strategies import STRATEGIES
from ..program.operations import find
from ..store import StepRecord
from ..store.consistency import refusal
from ..store.export_format import check_schema

Row = Mapping[str, Any]
Document = Mapping[str, Any]

TOOLS: Mapping[str, type[Arguments]] = {
    one.tool: one
    for one in (
        ForwardArguments,
        ComputeLossArguments,
        BackwardArguments,
        StepArguments,
        EvaluateArguments,
        OptimizeArguments,
    )
}
"""Those whose calls are runs."""
ASKED = ("step", "evaluate", "optimize")
"""Those whose runs remember their arguments as they were given, which are in their bounds."""
_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}
_NUMBER, _COUNT = {"type": "number"}, {"type": "integer", "minimum": 0}
_TIMES = {"type": "integer", "minimum": 1}
_ID = {"type": "string", "pattern": "^v[0-9]{1,12}$"}
_IDS = {"type": "array", "items": _ID, "minItems": 1}
_TEXTS = {"type": "array", "items": _TEXT}
_SOME = {"anyOf": [_IDS, {"type": "null"}]}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """Other keys than these may be there: those of later versions."""
    return {"type": "object", "required": required.split(), "properties": properties}


def _choice(arguments: type[Arguments], name: str) -> dict[str, Any]:
    """The schema of one argument: the values that it may have."""
    return dict(arguments.model_json_schema()["properties"][name])


def _map(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": _ID, "additionalProperties": values}


_EVERY = {"notes": _TEXTS, "made": {"type": "object", "additionalProperties": _TEXT}}
_COMPUTE = _object("targets", targets={**_IDS, "minItems": 0}, given=_FLAG, **_EVERY)
ARGUMENTS: Mapping[str, dict[str, Any]] = {
    "forward": _COMPUTE,
    "compute_loss": _COMPUTE,
    "backward": _object(
        "losses places",
        losses=_IDS,
        places={"type": "array", "items": _COUNT, "minItems": 1, "uniqueItems": True},
        exact=_FLAG,
        **_EVERY,
    ),
    "step": _object(
        "bound accept candidates",
        bound={**_map(_COUNT), "minProperties": 1},
        accept=_choice(StepArguments, "accept"),
        strategy=_TEXT,
        candidates=_COUNT,
        memory=_COUNT,
        repeats=_TIMES,
        **_EVERY,
    ),
    "evaluate": _object(
        "loss split",
        loss=_ID,
        split=_choice(EvaluateArguments, "split"),
        votes=_COUNT,
        repeats=_TIMES,
        **_EVERY,
    ),
    "optimize": _object(
        "losses variables steps batch_size candidates strategy parents goal patience budget seed",
        losses=_IDS,
        variables=_SOME,
        **dict.fromkeys(("steps", "batch_size", "candidates", "patience", "memory"), _COUNT),
        parents=_choice(OptimizeArguments, "parents"),
        goal=_NUMBER,
        seed={"type": "integer"},
        budget={"type": "object", "additionalProperties": _NUMBER},
        together=_FLAG,
        early=_FLAG,
        open=_TEXTS,
        check=_COUNT,
        repeats=_TIMES,
        measured={"anyOf": [_COUNT, {"type": "null"}]},
        **_EVERY,
    ),
}
_MEMBER = _object(
    "name texts scores",
    name=_TEXT,
    texts=_map(_TEXT),
    scores={"type": "array", "items": _NUMBER, "minItems": 1},
    led=_map(_TEXTS),
)
_POOL = _object(
    "members", members={"type": "array", "items": _MEMBER, "minItems": 1}, current=_COUNT
)
STATES: Mapping[str, dict[str, Any]] = {
    "step": _object("", recorded={"type": "object"}),
    "evaluate": _object("", reads={"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2}),
    "optimize": _object(
        "",
        pool=_POOL,
        before={"type": "array", "items": _NUMBER, "minItems": 1},
        **dict.fromkeys(("iteration", "steps", "accepted", "refused", "idle"), _COUNT),
        without_gain=_COUNT,
        paired=_FLAG,
        start={"type": "object", "additionalProperties": _NUMBER},
        scores={
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"pattern": "^[0-9]{1,12}$"},
                "additionalProperties": _NUMBER,
            },
        },
        tried=_COUNT,
        **dict.fromkeys(("moved", "plain"), _FLAG),
    )
    | {"dependentRequired": {"pool": ["before"]}},
}


def check_meaning(document: Document) -> None:
    """Raises BadInput, saying where, for a session that some tool could not work with.

    `document` fits the schema of exported files already, and its rows hang together.
    """
    variables = {f"v{row['n']}": row for row in document["variables"]}
    losses = {f"v{o['output']}" for o in document["operations"] if is_loss(o["kind"])}
    examples = {row["n"] for row in document["examples"]}
    for row in document["variables"]:
        _tried(
            f"the constraints of v{row['n']}",
            functools.partial(constraints.parse, row["constraints"]),
        )
    for row in document["operations"]:
        _tried(f"operation op{row['n']}", functools.partial(_check_operation, row))
    for index, row in enumerate(document["runs"]):
        Saved(index, row, variables, losses, examples).check()


def _tried(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except BadInput as error:
        raise refusal(f"{what}: {error.message.rstrip('.')}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise refusal(f"{what} makes no sense ({error})") from None


def _check_operation(row: Row) -> None:
    operation = Operation(
        id=f"op{row['n']}",
        kind=row["kind"],
        output=f"v{row['output']}",
        system=f"v{row['system']}" if row["system"] is not None else None,
        inputs={name: f"v{n}" for name, n in row["inputs"].items()},
        spec=row["spec"],
    )
    find(operation.kind).check_form(operation, sys.maxsize)


class Saved:
    """A run as it was saved, and what it may name."""

    def __init__(
        self,
        index: int,
        row: Row,
        variables: Mapping[str, Row],
        losses: set[str],
        examples: set[int],
    ) -> None:
        self._at = ("runs", index)
        self._row, self._args, self._state = row, row["args"], row["state"]
        self._variables, self._losses, self._examples = variables, losses, examples

    def check(self) -> None:
        """Raises BadInput, saying where, unless it can be resumed, or shown if it has ended."""
        tool = self._row["tool"]
        if self._row["status"] == "done":
            self._fits("result", TOOLS[tool].result, self._row["result"])
        if self._row["status"] in ("done", "cancelled"):
            check_schema(self._args, _object("", **_EVERY), (*self._at, "args"))
            return
        check_schema(self._args, ARGUMENTS[tool], (*self._at, "args"))
        check_schema(self._state, STATES.get(tool, {}), (*self._at, "state"))
        if tool in ASKED:
            _tried(self._name("args"), lambda: TOOLS[tool].check(self._args))
        match tool:
            case "forward" | "compute_loss":
                self._are("args.targets", self._args["targets"], self._outputs())
            case "backward":
                self._are("args.losses", self._args["losses"], self._losses)
                self._check_places()
            case "step":
                self._are("args.bound", self._args["bound"], self._rewritten())
                self._check_strategy()
                if "recorded" in self._state:
                    self._fits("state.recorded", StepRecord, self._state["recorded"])
            case "evaluate":
                self._are("args.loss", [self._args["loss"]], self._losses)
            case "optimize":
                self._check_optimize()

    def _fits(self, where: str, model: type[Result] | type[StepRecord], value: Any) -> None:
        _tried(f"{self._name(where)}", lambda: model.model_validate(value))

    def _name(self, where: str) -> str:
        return ".".join(map(str, (*self._at, where)))

    def _are(self, where: str, ids: Any, known: set[str]) -> None:
        wrong = [one for one in ids if one not in known]
        if wrong:
            raise refusal(f"{self._name(where)} names {wrong[0]!r}, which does not fit")

    def _outputs(self) -> set[str]:
        return {v for v, row in self._variables.items() if row["kind"] == Kind.OUTPUT}

    def _rewritten(self) -> set[str]:
        return {v for v, row in self._variables.items() if row["kind"] in STEPPED}

    def _check_places(self) -> None:
        places = self._args["places"]
        per_example = any(self._variables[loss]["per_example"] for loss in self._args["losses"])
        known = self._examples if per_example else {NO_EXAMPLE}
        wrong = [place for place in places if place not in known]
        if wrong:
            raise refusal(f"{self._name('args.places')} names {wrong[0]!r}, which is no example")

    def _check_strategy(self) -> None:
        if (name := self._args.get("strategy")) is not None:
            _tried(self._name("args"), lambda: STRATEGIES.find(name))

    def _check_optimize(self) -> None:
        self._are("args.losses", self._args["losses"], self._losses)
        self._are("args.variables", self._args["variables"] or [], self._rewritten())
        self._check_strategy()
        if "pool" not in self._state:
            return
        members = self._state["pool"]["members"]
        if self._state["pool"].get("current", 0) >= len(members):
            raise refusal(f"{self._name('state')}.pool.current is none of its members")
        if len({len(self._state["before"]), *(len(m["scores"]) for m in members)}) > 1:
            raise refusal(f"{self._name('state')}.pool has scores on different examples")
        for member in members:
            self._are("state.pool", [*member["texts"], *member.get("led", {})], self._rewritten())
