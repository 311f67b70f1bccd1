"""A whole session, driven at random through an in-memory client, against a plain Python model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from textgrad_mcp.engine.views.results import VALUE, cut

from ..helpers import Facts
from ..session_driver import Driver
from ..session_model import BAD_REPLY, Leaf, Made, repair_start, reply

MOST_THINGS = 12
Rule = Callable[..., Any]


def when_idle(rule_: Rule) -> Rule:
    """Only while no run waits for completions."""
    return precondition(lambda self: self.work is None)(rule_)


def while_waiting(rule_: Rule) -> Rule:
    """Only while a run waits for completions."""
    return precondition(lambda self: self.work is not None)(rule_)


TEXTS = st.sampled_from(["", "one", "{x}", "a\nb", "</input>", '{"v1": "..."}', "é\r\n", " "])
PICK = st.integers(0, 1000)
PICKS = st.lists(PICK, min_size=1, max_size=3)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"q": st.sampled_from(["one", "two", "three"]), "w": st.sampled_from(["", "{x}", "six"])}
    ),
    min_size=1,
    max_size=3,
)


class Session(Driver):
    """What may be done to a session at any moment, and what holds after each deed."""

    @initialize(text=TEXTS)
    def start(self, text: str) -> None:
        """A session begins with its first variable."""
        made = self.call("create_variable", role="prompt", value=text)
        self.session = made["session_id"]
        self.book.things[made["variable"]] = Leaf([text], parameter=True)

    @precondition(lambda self: len(self.book.things) < MOST_THINGS)
    @rule(text=TEXTS, parameter=st.booleans())
    def give(self, text: str, parameter: bool) -> None:
        """A parameter or a constant; also while a run waits."""
        made = self.call("create_variable", role="a text", value=text, requires_grad=parameter)
        self.book.things[made["variable"]] = Leaf([text], parameter)

    @precondition(lambda self: len(self.book.things) < MOST_THINGS)
    @rule(name=st.sampled_from(["q", "w"]))
    def give_field(self, name: str) -> None:
        """A variable that the examples feed."""
        made = self.call("create_variable", role="a field", example_field=name)
        self.book.things[made["variable"]] = Leaf(fed_from=name)

    @when_idle
    @rule(split=st.sampled_from(["train", "validation"]), rows=ROWS)
    def give_rows(self, split: str, rows: list[dict[str, str]]) -> None:
        """Examples; those that the split has are skipped."""
        facts = self.call("add_examples", split=split, examples=rows)
        assert facts["added"] == self.book.add_rows(split, rows)

    @when_idle
    @precondition(lambda self: len(self.book.things) < MOST_THINGS)
    @rule(picks=PICKS)
    def put_together(self, picks: list[int]) -> None:
        """A template over some variables."""
        inputs = self.some(picks)
        template = f"<{'|'.join(f'{{{name}}}' for name in inputs)}>"
        self.make(Made("format", inputs), "forward", operation="format", template=template)

    @when_idle
    @precondition(lambda self: len(self.book.things) < MOST_THINGS)
    @rule(pick=PICK, system=st.none() | PICK)
    def ask_the_model(self, pick: int, system: int | None) -> None:
        """A call of the program's model."""
        extra = {} if system is None else {"system": self.one(system)}
        made = Made("llm", self.some([pick]), extra.get("system"))
        self.make(made, "forward", operation="llm", **extra)

    @when_idle
    @precondition(lambda self: len(self.book.things) < MOST_THINGS)
    @rule(picks=PICKS, score=st.sampled_from([0.0, 0.5, 1.0]))
    def measure(self, picks: list[int], score: float) -> None:
        """A loss that the caller has measured, where it has one place; else it is asked for."""
        made = Made("feedback", self.some(picks))
        places = self.book.places(made.inputs.values())
        if len(places) == 1:
            texts = [self.book.value(v, *places)[0] for v in made.inputs.values()]
            made.told = texts, {"feedback": "look", "score": score}
        self.make(made, "compute_loss", kind="feedback", feedback="look", score=score)

    def make(self, made: Made, tool: str, **arguments: Any) -> None:
        """Add an operation; it is there at once, its value perhaps later."""
        self.work = (tool, {"inputs": made.inputs} | arguments)
        facts = self.call(tool, inputs=made.inputs, **arguments)
        self.book.things[facts["variable"]] = made
        self.take(facts)

    @when_idle
    @rule()
    def recompute(self) -> None:
        """Everything stale."""
        self.begin("forward")

    @when_idle
    @precondition(lambda self: self.book.made("feedback"))
    @rule(picks=st.lists(PICK, min_size=1, max_size=2))
    def backward(self, picks: list[int]) -> None:
        """Feedback from one or two losses, refused where it cannot reach a parameter."""
        among = self.book.made("feedback")
        self.losses = list(dict.fromkeys(among[p % len(among)] for p in picks))
        some = any(self.book.parameters_of(loss) for loss in self.losses)
        per_example = [loss for loss in self.losses if self.book.per_example(loss)]
        if not some or (per_example and not self.book.in_use(per_example[0])):
            self.refused("backward", losses=self.losses)
        else:
            self.begin("backward", losses=self.losses)

    @when_idle
    @rule()
    def step(self) -> None:
        """New texts for everything with fresh feedback, refused where there is none."""
        unspent = self.book.unspent.items()
        if unspent and all(version == len(self.leaf(p).texts) for p, version in unspent):
            self.begin("step")
        else:
            assert "gradient" in self.refused("step")

    @when_idle
    @rule(pick=PICK, version=PICK)
    def revert(self, pick: int, version: int) -> None:
        """An earlier text again, as a new version."""
        parameters = self.book.leaves(parameter=True)
        variable = parameters[pick % len(parameters)]
        texts = self.leaf(variable).texts
        chosen = version % (len(texts) + 1) + 1
        if chosen > len(texts):
            assert "no version" in self.refused("revert", variable=variable, version=chosen)
            return
        facts = self.call("revert", variable=variable, version=chosen)
        if texts[chosen - 1] != texts[-1]:
            texts.append(texts[chosen - 1])
        assert facts["version"] == len(texts)

    @when_idle
    @rule(pick=PICK, confirm=st.booleans())
    def take_out(self, pick: int, confirm: bool) -> None:
        """A thing with all that is made from it, once it is confirmed."""
        variable = self.one(pick)
        down = self.book.downstream(variable)
        if set(self.book.leaves(parameter=True)) <= set(down):
            return  # something is to be left to improve
        before = self.document()
        self.call("revert", remove=[variable])
        assert self.document() == before
        if confirm:
            self.call("revert", remove=[variable], confirm=True)
            self.book.take_out(down)
            assert "taken out" in self.refused("revert", remove=[variable], confirm=True)

    @when_idle
    @precondition(lambda self: self.book.rows and not self.book.unspent)
    @rule(pick=PICK, text=st.none() | st.sampled_from(["one", "four"]))
    def correct(self, pick: int, text: str | None) -> None:
        """An example is mended, or taken out; two of a split may not become the same."""
        number = [*self.book.rows][pick % len(self.book.rows)]
        split, row = self.book.rows[number]
        if text is None:
            self.call("revert", remove=[f"e{number}"], confirm=True)
            del self.book.rows[number]
            return
        mended = (split, row | {"q": text})
        arguments = {"split": split, "examples": {f"e{number}": {"q": text}}}
        if mended in [r for n, r in self.book.rows.items() if n != number]:
            assert "same as" in self.refused("add_examples", **arguments)
        else:
            self.call("add_examples", **arguments)
            self.book.rows[number] = mended

    @while_waiting
    @rule(picks=st.lists(PICK, min_size=1, max_size=4), clumsy=st.booleans())
    def answer(self, picks: list[int], clumsy: bool) -> None:
        """Some of what is pending; a clumsy answer is asked for once more."""
        chosen = {p % len(self.pending) for p in picks}
        self.hand_in([self.pending[n] for n in chosen], clumsy)

    @while_waiting
    @rule()
    def answer_all(self) -> None:
        """All of what is pending, wave by wave."""
        while self.work is not None:
            self.hand_in(self.pending, clumsy=False)

    def hand_in(self, prompts: list[Facts], clumsy: bool) -> None:
        """Completions through resume."""
        given: Facts = {}
        for one in prompts:
            self.answered.add((one.get("system"), one["prompt"]))
            if clumsy and "Your reply could not be used." not in one["prompt"]:
                self.repairs[repair_start(one)] = one["prompt"]
                given[one["id"]] = BAD_REPLY
                continue
            said = given[one["id"]] = reply(one, self.repairs)
            if isinstance(said, dict) and "value" in said:
                self.proposed.add(said["value"])
        self.take(self.call("resume", completions=given))

    @while_waiting
    @rule(again=st.booleans())
    def ask_again(self, again: bool) -> None:
        """The same call, or resume without completions: the same prompts."""
        assert self.work is not None
        tool, arguments = self.work
        before = self.pending
        self.take(self.call(tool, **arguments) if again else self.call("resume"))
        assert self.pending == before

    @while_waiting
    @rule()
    def interfere(self) -> None:
        """Another call while a run waits is refused, with the run named."""
        for tool, arguments in (
            ("add_examples", {"split": "test", "examples": [{"q": "never", "w": "never"}]}),
            ("revert", {"variable": "v1", "version": 1}),
            ("revert", {"remove": ["v1"], "confirm": True}),
            ("forward", {"operation": "format", "template": "{x}!", "inputs": {"x": "v1"}}),
        ):
            assert "session" in self.refused(tool, **arguments)

    @while_waiting
    @rule()
    def cancel(self) -> None:
        """The run is dropped; what was answered stays."""
        self.call("resume", cancel=True)
        self.work, self.pending = None, []

    @rule()
    def restart(self) -> None:
        """Another server process would find the same."""
        before = self.document()
        self.served.stop()
        self.served.start()
        assert self.document() == before

    # What must always hold

    @invariant()
    def it_agrees(self) -> None:
        """Versions, values, calls and the file's own rules."""
        if not self.session:
            return
        document = self.document()
        texts: dict[str, list[str]] = {}
        for one in document["versions"]:
            texts.setdefault(f"v{one['variable']}", []).append(one["text"])
            assert one["version"] == len(texts[f"v{one['variable']}"])
        leaves = {v: x.texts for v, x in self.book.things.items() if isinstance(x, Leaf)}
        assert texts == {v: t for v, t in (leaves | self.book.gone).items() if t}
        assert not self.book.gone.keys() & self.book.things.keys()
        cells = {(f"v{c['variable']}", c["place"]): c for c in document["cells"]}
        for (variable, place), cell in cells.items():
            assert (cell["text"], cell["score"]) == self.book.value(variable, place)
        clean = {f"v{v['n']}" for v in document["variables"] if not v["dirty"]}
        for variable, place in self.book.cells():
            assert variable not in clean or (variable, place) in cells
        by_hand = [c for c in document["calls"] if c["model"] == "assistant"]
        assert len(by_hand) == len(self.answered)
        unspent = {
            f"v{g['variable']}": g["version"] for g in document["gradients"] if not g["spent_by"]
        }
        assert unspent == self.book.unspent
        self.it_shows(cells)

    def it_shows(self, cells: dict[tuple[str, int], Facts]) -> None:
        """`inspect` says the same of one variable, each time of the next; the file is whole."""
        self.turn += 1
        variable = self.one(self.turn)
        view = self.call("inspect", id=variable)["view"]
        thing = self.book.things[variable]
        if isinstance(thing, Leaf) and thing.texts:
            assert view["text"] == thing.texts[-1]
            assert view["versions"][0]["version"] == len(thing.texts)
        elif isinstance(thing, Made) and "values" in view:
            shown = {(variable, int((x["example"] or "e0")[1:])): x["text"] for x in view["values"]}
            assert shown.items() <= {k: cut(c["text"], VALUE)[0] for k, c in cells.items()}.items()

        async def problems() -> list[str]:
            return await (await self.served.store()).maintenance.check()

        assert self.served.run(problems()) == []


def drive(examples: int, steps: int, *, always_the_same: bool) -> None:
    """So many sessions of so many steps."""
    run_state_machine_as_test(
        Session,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=always_the_same,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.requirement("asked-once", "versions-kept")
@pytest.mark.timeout(600)
def test_a_session_agrees_with_its_model_whatever_is_done_in_whatever_order() -> None:
    drive(examples=12, steps=30, always_the_same=True)


@pytest.mark.requirement("asked-once")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hundreds_of_sessions_do_too() -> None:
    drive(examples=300, steps=60, always_the_same=False)
