"""Results as text: every fact of the structured content is in it, in a form a model reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.schemas.completions import Pending
from textgrad_mcp.schemas.results import ForwardResult, Result, Shown
from textgrad_mcp.server.protocol.result_text import facts, render

from ...helpers import Facts, scalars

values = st.recursive(
    st.text(max_size=20) | st.integers() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.requirement("no-fact-left-out")
@settings(max_examples=100, deadline=None, database=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), values, max_size=4))
def test_no_fact_is_left_out_of_the_text(data: Facts) -> None:
    text = render(data)
    for fact in scalars(data):
        assert all(line in text for line in fact.split("\n"))


def test_a_long_text_keeps_its_lines_beneath_its_name() -> None:
    shown = Shown(variable="v1", text="first\nsecond: x\n- third")
    text = render(facts(ForwardResult(session_id="s", values=[shown])))
    assert text.splitlines() == [
        "session_id: s",
        "status: done",
        "values:",
        "  - variable: v1",
        "    text: |",
        "      first",
        "      second: x",
        "      - third",
    ]


def test_empty_facts_are_left_out_and_the_status_never() -> None:
    assert facts(Result()) == {"status": "done"}
    assert facts(Result(session_id="s", notes=[], error=None)) == {
        "session_id": "s",
        "status": "done",
    }


def test_of_long_lists_of_ids_the_first_are_named_and_all_are_counted() -> None:
    ids = [f"e{n}" for n in range(1000)]
    shown = facts(ForwardResult(examples=ids, recomputed=["v1"], notes=["a note"]))
    assert shown["examples"] == ids[:60]
    assert shown["recomputed"] == ["v1"]
    assert shown["notes"] == ["a note", "60 of 1000 examples are named."]


def test_nought_and_false_are_facts() -> None:
    assert facts(ForwardResult(mean_score=0.0))["mean_score"] == 0


def shown(*prompts: tuple[str, str]) -> tuple[Facts, str]:
    """Facts and text of a page of prompts, each with its system prompt."""
    pending = [
        Pending(id=f"c{n}", purpose="p", system=system, prompt=prompt)
        for n, (system, prompt) in enumerate(prompts, 1)
    ]
    given = facts(Result(status="needs_completions", pending=pending))
    return given, render(given)


@pytest.mark.requirement("said-once")
def test_a_long_text_that_pending_prompts_share_is_shown_once() -> None:
    long = "Answer in one word. " * 20
    given, text = shown(*((long, f"q{n}") for n in (1, 2, 3)))
    assert text.count(long.strip()) == 1
    assert text.count("system: [as c1's system]") == 2
    assert [one["system"] for one in given["pending"]] == [long] * 3


@pytest.mark.requirement("said-once")
def test_a_judges_instruction_and_a_piece_of_code_are_shown_once_a_page() -> None:
    instruction = "Instruction: Is it right? " + "It has to be short and polite. " * 9
    code = "\n".join(f"    total[{n}] = items[{n}] - {n}" for n in range(12))
    prompts = [f"{instruction}\n\n<text-{n}>\n{code}\n    return {n}\n</text-{n}>" for n in "abc"]
    given, text = shown(*(("Judge.", prompt) for prompt in prompts))
    assert [one["prompt"] for one in given["pending"]] == prompts
    assert text.count(instruction.strip()) == 1
    assert text.count("total[7]") == 1
    assert text.count("characters as in c1's prompt: Instruction: Is it r…]") == 2
    assert text.count("characters as in c1's prompt:     total[0]") == 2
    assert all(f"return {n}" in text and f"<text-{n}>" in text for n in "abc")


@pytest.mark.requirement("said-once")
@given(st.lists(st.text("ab\n", max_size=400), max_size=4))
@settings(deadline=None)
def test_what_is_replaced_stands_above(prompts: list[str]) -> None:
    _, text = shown(*(("", prompt) for prompt in prompts))
    for prompt in prompts:
        assert all(line in text for line in prompt.split("\n"))


@pytest.mark.requirement("read-once")
def test_what_the_reader_knows_is_named_and_the_label_before_it_stays() -> None:
    question, draft = "Will it be done by Friday? " * 9, "Dear customer,\n" + "We shall see. " * 20
    known = [("c1's prompt", question), ("c1's answer", draft)]
    one = Pending(id="c2", purpose="p", prompt=f"Question: {question}\n\nDraft: {draft}")
    data = facts(Result(session_id="tg_1", status="needs_completions", pending=[one]))
    text = render(data, known)
    assert "Question: [243 characters as in c1's prompt: Will it be done by F…]" in text
    assert "Draft: [295 characters as in c1's answer: Dear customer, We sh…]" in text
    assert "resume(session_id='tg_1') shows the page whole." in text
    assert data["pending"][0]["prompt"] == one.prompt
    fresh = facts(Result(status="needs_completions", pending=[one]))
    assert "shows the page whole" not in render(fresh, [("c0's prompt", "Another. " * 20)])


@pytest.mark.requirement("said-once")
def test_a_passage_that_a_prompt_repeats_stands_in_it_once() -> None:
    answer = "We mend it by Friday. " * 9
    _, text = shown(("", "\n".join(f"Example {n}:\n{answer}" for n in range(3))))
    assert text.count(answer.strip()) == 1
    assert text.count("[198 characters as above: We mend it by Friday…]") == 2
