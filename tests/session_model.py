"""A session as plain Python: what it holds, and what an assistant answers whatever it is asked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .helpers import Facts

Row = dict[str, str]
HERE = 0
BAD_REPLY = " \n"
_INPUT = re.compile(r'<input-([0-9a-f]+) name="(\w+)">\n(.*?)\n</input-\1>', re.DOTALL)
_KEYS = re.compile(r'"(v\d+(?: e\d+)?)": "<feedback')


def digest(*texts: str | None) -> str:
    """A few characters that stand for these texts."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:10]


def completion(system: str | None, prompt: str) -> str:
    """What the program's model says."""
    return f"L{digest(system, prompt)}"


def measured(texts: list[str]) -> Facts:
    """What the measuring of these texts finds; one in five is perfect."""
    found = digest(*texts)
    return {"feedback": f"F{found}", "score": int(found, 16) % 5 / 4}


def reply(pending: Facts, before: dict[str, str]) -> object:
    """The reply to a prompt. `before` maps the start of a repair prompt to what was asked first."""
    prompt = next((p for start, p in before.items() if pending["prompt"].startswith(start)), None)
    purpose = pending["purpose"].split(":")[0]
    if purpose == "forward":
        return completion(pending.get("system"), pending["prompt"] if prompt is None else prompt)
    if purpose == "external":
        return measured([text for _, _, text in _INPUT.findall(prompt or pending["prompt"])])
    if purpose == "gradient":
        asked = pending["prompt"].rpartition("Reply as JSON: ")[2]
        return {key: f"G{digest(pending['prompt'], key)}" for key in _KEYS.findall(asked)}
    assert purpose == "update", pending
    return {"value": f"T{digest(pending['prompt'])}"}


def repair_start(pending: Facts) -> str:
    """How the prompt begins that asks for an empty reply once more."""
    return f"[user]\n{pending['prompt']}\n\n[user]\nYour reply could not be used."


@dataclass
class Leaf:
    """A variable somebody gave: its texts, one a version, or the examples' field it is fed from."""

    texts: list[str] = field(default_factory=list)
    parameter: bool = False
    fed_from: str | None = None


@dataclass
class Made:
    """A variable that an operation makes. `told` is what the caller found on the inputs `seen`."""

    kind: str
    inputs: dict[str, str]
    system: str | None = None
    told: tuple[list[str], Facts] | None = None

    @property
    def sources(self) -> list[str]:
        """The variables it reads."""
        return [*([self.system] if self.system else []), *self.inputs.values()]


@dataclass
class Book:
    """Everything that should be true of a session with a minibatch of `batch` examples."""

    batch: int
    things: dict[str, Leaf | Made] = field(default_factory=dict)
    rows: dict[int, tuple[str, Row]] = field(default_factory=dict)
    unspent: dict[str, int] = field(default_factory=dict)
    """Parameter -> the version that its unspent gradients are about."""
    losses: dict[str, list[str]] = field(default_factory=dict)
    """Parameter -> the losses that its unspent gradients come from."""
    gone: dict[str, list[str]] = field(default_factory=dict)
    """What was taken out, with the texts it had."""
    last_row: int = 0

    def leaves(self, *, parameter: bool) -> list[str]:
        """The parameters, or the other leaves."""
        return [
            v for v, x in self.things.items() if isinstance(x, Leaf) and x.parameter == parameter
        ]

    def made(self, *kinds: str) -> list[str]:
        """The outputs of operations of these kinds (all when none is named)."""
        found = ((v, x) for v, x in self.things.items() if isinstance(x, Made))
        return [v for v, x in found if not kinds or x.kind in kinds]

    def add_rows(self, split: str, rows: list[Row]) -> int:
        """Take rows that the split does not have; gives how many were new."""
        before = len(self.rows)
        for row in rows:
            if (split, row) not in self.rows.values():
                self.last_row += 1
                self.rows[self.last_row] = (split, row)
        return len(self.rows) - before

    def downstream(self, variable: str) -> list[str]:
        """What is made from it, itself included."""
        return [v for v in self.things if variable in self.upstream(v)]

    def take_out(self, variables: list[str]) -> None:
        """These are gone, and what was about to be learnt on or from them."""
        for v in variables:
            thing = self.things.pop(v)
            self.gone[v] = thing.texts if isinstance(thing, Leaf) else []
        for p in list(self.unspent):
            if {p, *self.losses[p]} & set(variables):
                del self.unspent[p]

    def in_use(self, variable: str) -> list[int]:
        """The places at which `variable` has values."""
        return self.places([variable])

    def places(self, inputs: Iterable[str]) -> list[int]:
        """The places at which something made from `inputs` has values."""
        if not any(map(self.per_example, inputs)):
            return [HERE]
        return [n for n, (split, _) in self.rows.items() if split == "train"][: self.batch]

    def per_example(self, variable: str) -> bool:
        """Whether the examples feed it."""
        return any(isinstance(x, Leaf) and x.fed_from for x in self.upstream(variable).values())

    def upstream(self, variable: str) -> dict[str, Leaf | Made]:
        """What it is made from, itself included."""
        found: dict[str, Leaf | Made] = {}
        stack = [variable]
        while stack:
            name = stack.pop()
            thing = found[name] = self.things[name]
            if isinstance(thing, Made):
                stack += [s for s in thing.sources if s not in found]
        return found

    def parameters_of(self, variable: str) -> set[str]:
        """The parameters it is made from."""
        above = self.upstream(variable).items()
        return {v for v, x in above if isinstance(x, Leaf) and x.parameter}

    def value(self, variable: str, place: int) -> tuple[str, float | None]:
        """The text and score of a variable at a place, as they must be by now."""
        thing = self.things[variable]
        if isinstance(thing, Leaf):
            return self.rows[place][1][thing.fed_from] if thing.fed_from else thing.texts[-1], None
        texts = [self.value(source, place)[0] for source in thing.inputs.values()]
        if thing.kind == "format":
            return f"<{'|'.join(texts)}>", None
        if thing.kind == "llm":
            system = self.value(thing.system, place)[0] if thing.system else None
            return completion(system or None, texts[0]), None
        told = thing.told is not None and thing.told[0] == texts
        found = thing.told[1] if thing.told and told else measured(texts)
        return found["feedback"], found["score"]

    def criticised(self, loss: str) -> bool:
        """Whether the loss finds something to improve anywhere."""
        return any(self.value(loss, place)[1] != 1 for place in self.in_use(loss))

    def cells(self) -> Iterator[tuple[str, int]]:
        """Every place of every output that is in use."""
        for variable in self.made():
            for place in self.in_use(variable):
                yield variable, place
