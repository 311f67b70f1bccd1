"""Quoting examples: training rows may stand in a text, and do not count for it; held-out rows may
not, unless a constraint allows it; and no held-out word reaches whoever rewrites."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.results import EvaluateResult, ExamplesResult, OptimizeResult, StepResult

from ...helpers import ME, Scripted, an_engine

CITIES = ["Paris", "Rome", "Oslo", "Bern", "Riga", "Lima"]
KEPT_APART = "What is the capital of Andorra in the mountains?"
SPLITS = {
    "train": [(f"Where does the mayor of {city} live?", city) for city in CITIES[:4]],
    "validation": [(f"Which town has {city} as its name?", city) for city in CITIES],
    "test": [(KEPT_APART, "Andorra la Vella")],
}
FEEDBACK = "Say how to answer."


def rows(split: str) -> list[dict[str, str]]:
    return [{"q": q, "a": a} for q, a in SPLITS[split]]


def quote(split: str, row: int = 0) -> str:
    question, answer = SPLITS[split][row]
    return f"Answer with the name. {question.upper()} {answer.lower()}"


class Critic(Scripted):
    """Proposes the `texts` in turn; the program is right wherever its prompt says "name"."""

    def __init__(self, *texts: str) -> None:
        super().__init__(self.say)
        self.texts = list(texts)

    def say(self, request: CompletionRequest) -> str:
        match request.purpose:
            case Purpose.FORWARD:
                known = {q: a for split in SPLITS.values() for q, a in split}
                return known.get(request.prompt, "?") if "name" in (request.system or "") else "?"
            case Purpose.GRADIENT:
                return json.dumps({"v1": FEEDBACK})
        return json.dumps({"value": self.texts.pop(0)})

    def prompts(self, purpose: Purpose) -> list[str]:
        return [
            "\n".join(m.content for m in r.messages) for r in self.asked if r.purpose is purpose
        ]


async def program(engine: Engine, value: str = "Answer.", *constraints: str) -> str:
    made = await engine.create_variable(ME, role="prompt", value=value, constraints=constraints)
    s = str(made.session_id)
    await engine.create_variable(ME, role="q", example_field="q", session_id=s)
    await engine.create_variable(ME, role="a", example_field="a", reference=True, session_id=s)
    for split in SPLITS:
        await engine.add_examples(ME, session_id=s, split=split, examples=rows(split))
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    return s


async def stepped(engine: Engine, s: str, **arguments: Any) -> StepResult:
    await engine.backward(ME, session_id=s)
    step = await engine.step(ME, session_id=s, **arguments)
    assert isinstance(step, StepResult)
    return step


@pytest.mark.requirement("no-leaks")
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_held_out_row_is_refused_and_none_of_its_words_reach_the_rewriter(split: str) -> None:
    critic = Critic(quote(split), quote(split))

    async def main() -> None:
        async with an_engine(critic) as engine:
            s = await program(engine)
            step = await stepped(engine, s)
            assert not step.accepted
            said = step.proposals[0].reason
            assert f"It quotes a row of the {split} split, input and answer" in said
            assert "examples=any_copy" in said
            await stepped_with_nothing_left(engine, s)

    async def stepped_with_nothing_left(engine: Engine, s: str) -> None:
        critic.texts = ["Answer politely."]
        await stepped(engine, s)

    asyncio.run(main())
    question = SPLITS[split][0][0]
    repairs = [r.messages[-1].content for r in critic.asked if r.purpose is Purpose.UPDATE]
    assert any("It quotes a row" in text for text in repairs)
    for text in repairs:
        assert question not in text
        assert question.upper() not in text


@pytest.mark.parametrize("rule", ["examples=any_copy", "examples = ANY_COPY"])
def test_what_is_refused_can_be_allowed_by_the_constraint_that_the_refusal_names(rule: str) -> None:
    async def main() -> None:
        async with an_engine(Critic(quote("test"))) as engine:
            s = await program(engine, "Answer.", rule)
            assert (await stepped(engine, s)).accepted

    asyncio.run(main())


@pytest.mark.requirement("no-leaks", "quoted-rows")
@pytest.mark.parametrize("constraints", [[], ["examples=may_copy"]])
def test_training_rows_may_be_quoted_and_are_noted(constraints: list[str]) -> None:
    async def main() -> None:
        async with an_engine(Critic(quote("train"))) as engine:
            s = await program(engine, "Answer.", *constraints)
            step = await stepped(engine, s)
            assert step.accepted
            assert step.proposals[0].reason.endswith("(quotes training examples: e1)")
            found = await engine.evaluate(ME, session_id=s, split="train")
            assert isinstance(found, EvaluateResult)
            [note] = found.notes
            assert note == "The texts quote e1, which flatters the score: without them it is 1.00."
            held = await engine.evaluate(ME, session_id=s, split="validation")
            assert held.notes == []

    asyncio.run(main())


@pytest.mark.requirement("quoted-rows")
def test_an_optimisation_says_which_training_rows_the_installed_text_quotes() -> None:
    made_up = "Answer with the name.\nquestion: Who built the longest pier of Atlantis?\nanswer: Ys"

    async def main() -> None:
        for new, rows in ((quote("train"), ["e1"]), (made_up, [])):
            async with an_engine(Critic(new)) as engine:
                s = await program(engine, "Answer.")
                how: dict[str, Any] = {"steps": 1, "candidates": 1, "strategy": "gradient"}
                found = await engine.optimize(ME, session_id=s, **how)
                assert isinstance(found, OptimizeResult)
                assert found.accepted == 1
                said = [n for n in found.notes if n.startswith("The installed texts quote")]
                assert said == [f"The installed texts quote training examples: {r}." for r in rows]

    asyncio.run(main())


@pytest.mark.parametrize(
    "new", [quote("train"), f"Answer with the name. E.g. {SPLITS['train'][0][0]}"]
)
def test_a_constraint_can_forbid_to_quote_training_rows_or_their_inputs(new: str) -> None:
    async def main() -> None:
        async with an_engine(Critic(new, new)) as engine:
            s = await program(engine, "Answer.", "examples=no_copy")
            step = await stepped(engine, s)
            assert not step.accepted
            said = step.proposals[0].reason
            assert "It quotes training examples (e1)" in said
            assert "examples=no_copy forbids it; examples=may_copy would allow it" in said

    asyncio.run(main())


@pytest.mark.requirement("no-leaks")
@pytest.mark.parametrize("rule", ["examples=no_copy", "max_chars=900"])
def test_a_list_of_all_right_answers_is_no_quotation(rule: str) -> None:
    async def main() -> None:
        labels = "Answer with one name: " + ", ".join(CITIES) + " or Andorra la Vella."
        async with an_engine(Critic(labels)) as engine:
            s = await program(engine, "Answer.", rule)
            assert (await stepped(engine, s)).accepted

    asyncio.run(main())


def test_a_row_that_training_has_too_is_a_fault_of_the_split_and_said_when_it_is_loaded() -> None:
    async def main() -> None:
        async with an_engine(Critic(quote("train"))) as engine:
            s = await program(engine)
            alike = [{"q": SPLITS["train"][0][0].upper() + " ", "a": "PARIS!"}]
            added = await engine.add_examples(ME, session_id=s, split="test", examples=alike)
            assert isinstance(added, ExamplesResult)
            [note] = added.notes
            assert note.startswith("Rows of other splits (e1) differ from some of these in case,")
            again = await engine.add_examples(
                ME, session_id=s, split="validation", examples=rows("train")[1:2]
            )
            assert again.notes == [
                "1 of these are in another split too: scores there are no longer held-out."
            ]
            assert (await stepped(engine, s)).accepted

    asyncio.run(main())


@pytest.mark.requirement("quoted-rows")
def test_quoted_rows_are_left_out_of_minibatches_and_do_not_count_on_them() -> None:
    """The installed text quotes e1 and e2; the rewrite quotes e3 and e4, which is all the rest."""
    both = f"Reply. {quote('train', 2)} {quote('train', 3)}"
    critic = Critic(both)

    async def main() -> None:
        async with an_engine(critic) as engine:
            start = f"{quote('train')} {quote('train', 1)}".replace("name", "word")
            s = await program(engine, start)
            critic.asked.clear()
            result = await engine.optimize(
                ME, session_id=s, strategy="gradient", steps=1, candidates=1, batch_size=4
            )
            assert isinstance(result, OptimizeResult)
            assert result.accepted == 1
            assert result.proposals[0].reason.endswith("(quotes training examples: e3, e4)")

    asyncio.run(main())
    [asked] = critic.prompts(Purpose.GRADIENT)
    assert re.findall(r"Example (e\d):", asked) == ["e3", "e4"]


@pytest.mark.requirement("quoted-rows")
def test_a_rewrite_that_helps_on_what_it_quotes_alone_is_refused_on_the_minibatch() -> None:
    class Parrot(Critic):
        """Right on the questions that stand in its prompt."""

        def say(self, request: CompletionRequest) -> str:
            if request.purpose is not Purpose.FORWARD:
                return super().say(request)
            known = request.prompt.upper() in (request.system or "")
            return dict(SPLITS["train"])[request.prompt] if known else "?"

    async def main() -> None:
        async with an_engine(Parrot(quote("train"))) as engine:
            s = await program(engine)
            step = await stepped(engine, s, accept="if_better")
            assert not step.accepted
            reason = step.proposals[0].reason
            assert "a tie on the minibatch: 0.00 on 3 examples" in reason

    asyncio.run(main())


SENTENCE = "Examples may be quoted from what stands here, or made up."
FORBIDDEN = "Quote no example in the feedback on v1; made-up ones are fine."


@pytest.mark.parametrize(
    ("splits", "constraints", "gradient", "update"),
    [
        (["train"], [], [], []),
        (["train", "validation"], [], [SENTENCE], [SENTENCE]),
        (
            ["train"],
            ["examples=no_copy"],
            [FORBIDDEN],
            ["No example may be quoted in it; made-up ones may."],
        ),
    ],
)
def test_both_requests_say_beforehand_what_may_be_quoted_where_it_matters(
    splits: list[str], constraints: list[str], gradient: list[str], update: list[str]
) -> None:
    critic = Critic("Answer with the name.")

    async def main() -> None:
        async with an_engine(critic) as engine:
            held = {name: SPLITS.pop(name) for name in list(SPLITS) if name not in splits}
            try:
                s = await program(engine, "Answer.", *constraints)
            finally:
                SPLITS.update(held)
            await stepped(engine, s)

    asyncio.run(main())
    every = [SENTENCE, FORBIDDEN, "No example may be quoted in it; made-up ones may."]
    for purpose, said in ((Purpose.GRADIENT, gradient), (Purpose.UPDATE, update)):
        [asked] = critic.prompts(purpose)
        assert [sentence for sentence in every if sentence in asked] == said


@pytest.mark.requirement("no-leaks")
@pytest.mark.parametrize("allowed", [False, True])
def test_a_rewrite_that_quotes_its_request_is_refused_unless_that_is_allowed(allowed: bool) -> None:
    leak = "The text to improve:\nAnswer with the name."

    async def main() -> None:
        async with an_engine(Critic(leak, leak)) as engine:
            rules = ["request=may_quote"] if allowed else []
            step = await stepped(engine, await program(engine, "Answer.", *rules))
            assert step.accepted is allowed
            if not allowed:
                assert "request=may_quote would allow it" in step.proposals[0].reason

    asyncio.run(main())


def test_ten_thousand_rows_are_looked_through_for_every_candidate() -> None:
    async def main() -> None:
        async with an_engine(Critic(quote("train"), quote("test"), quote("test"))) as engine:
            s = await program(engine)
            for split in ("train", "test"):
                many = [{"q": f"{split} " + f"w{n} " * 60, "a": "x"} for n in range(5000)]
                await engine.add_examples(ME, session_id=s, split=split, examples=many)
            assert (await stepped(engine, s)).accepted
            step = await stepped(engine, s, accept="always")
            assert "a row of the test split" in step.proposals[0].reason

    asyncio.run(main())
