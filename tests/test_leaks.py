"""A rewrite must not copy training examples or carry the optimiser's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine import leaks
from textgrad_mcp.engine.leaks import RUN, copied_examples, optimiser_words

OLD = "Sort the ticket into one of the codes FIN, SEC, ENG or GEN."
TICKET = {
    "input": "My card was charged twice for the March invoice and nobody answers my mails.",
    "answer": "FIN",
}
SHORT = {"input": "3 March 2021", "answer": "2021-03-03"}
WORDS = st.lists(st.sampled_from(["red", "green", "blue", "one", "two", "three"]), max_size=30)


def test_a_run_of_words_from_an_example_is_a_copy() -> None:
    new = OLD + " E.g. 'charged TWICE for the march\n invoice, and nobody answers' is FIN."
    [sentence] = copied_examples(new, OLD, [TICKET])
    assert sentence == (
        "It copies a training example: 'charged twice for the march invoice and nobody' (input). "
        "State the general rule in other words."
    )


def test_a_rule_in_other_words_is_no_copy() -> None:
    new = OLD + " Charges, invoices and refunds go to FIN; my card was charged twice is typical."
    assert copied_examples(new, OLD, [TICKET]) == []


@given(st.text(), st.lists(st.dictionaries(st.sampled_from("abc"), st.text())))
def test_what_was_there_before_is_never_reported(text: str, examples: list[dict[str, str]]) -> None:
    assert copied_examples(text, text, examples) == []
    assert optimiser_words(text, text) == []


@given(WORDS, WORDS, WORDS)
def test_a_long_field_is_found_exactly_when_a_new_run_of_it_is_there(
    new: list[str], old: list[str], field: list[str]
) -> None:
    def runs(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}

    copied = (runs(new) - runs(old)) & runs(field)
    found = copied_examples(" ".join(new), " ".join(old), [{"a": " ".join(field)}])
    if len(field) >= RUN:
        assert bool(found) == bool(copied)


@given(WORDS, WORDS, WORDS)
def test_a_whole_long_field_is_always_found(
    before: list[str], field: list[str], after: list[str]
) -> None:
    text = " ".join([*field, "with some longer words"])
    new = " ".join([*before, text, *after])
    assert copied_examples(new, "", [{"a": text}])


def test_a_field_shorter_than_a_run_counts_when_all_of_it_is_there() -> None:
    example = {"question": "Who wrote the Divine Comedy?"}
    assert copied_examples("For instance: who wrote the divine comedy", "", [example])
    assert not copied_examples("The divine comedy: who wrote it?", "", [example])


@pytest.mark.parametrize(
    ("new", "example"),
    [
        ("Answer FIN.", {"answer": "FIN"}),
        ("Answer 42.", {"answer": "42", "count": "42"}),
        ("Answer yes or no.", {"question": "no", "answer": "yes"}),
        ("On 3 March 2021 we met.", SHORT),
        ("Write 2021-03-03.", SHORT),
        ("Anything", {"empty": "", "marks": "?!"}),
    ],
)
def test_labels_numbers_and_single_short_fields_are_no_copy(
    new: str, example: dict[str, str]
) -> None:
    assert copied_examples(new, "", [example]) == []


def test_two_short_fields_of_one_example_are_a_copy() -> None:
    [sentence] = copied_examples("3 March 2021 becomes 2021-03-03.", "", [SHORT])
    assert "'3 march 2021' (input) and '2021 03 03' (answer)" in sentence


def test_short_fields_of_two_examples_are_no_copy() -> None:
    other = {"input": "4 May 1999", "answer": "1999-05-04"}
    assert copied_examples("3 March 2021 becomes 1999-05-04.", "", [SHORT, other]) == []


def test_a_label_that_was_there_before_completes_a_new_short_field() -> None:
    example = {"input": "refund please", "answer": "FIN"}
    assert copied_examples(OLD + " 'Refund please' is FIN.", OLD, [example])
    assert not copied_examples(OLD + " Be quick.", OLD + " Refund please.", [example])


def test_a_label_that_many_examples_share_still_completes_a_copy() -> None:
    examples = [{"input": f"refund number {n}", "answer": "FIN", "x": "a b"} for n in range(9)]
    assert len(copied_examples("Refund number 4 is FIN.", OLD, examples)) == 0
    mixed = [example | {"answer": ("FIN", "SEC")[n % 2]} for n, example in enumerate(examples)]
    assert len(copied_examples("Refund number 4 is FIN, a b.", OLD, mixed)) == 1


def test_words_that_many_examples_share_belong_to_the_task() -> None:
    task = "Put these words in alphabetical order and separate them with single spaces:"
    examples = [{"input": f"{task} {n} apples", "unit": "in whole apples"} for n in range(10)]
    assert copied_examples(task, "", examples) == []
    assert len(copied_examples(f"{task} 3 apples", "", examples)) == 1


def test_texts_without_spaces_are_compared_by_characters() -> None:
    example = {"input": "请把下面的句子翻译成英文然后再检查一遍"}
    assert copied_examples("例如:把下面的句子翻译成英文。", "", [example])
    assert not copied_examples("请翻译。", "", [example])


def test_many_copies_are_counted_and_not_listed() -> None:
    examples = [{"q": f"What is the answer to question {n} of the exam?"} for n in range(7)]
    new = " ".join(example["q"] for example in examples)
    sentences = copied_examples(new, "", examples)
    assert len(sentences) == 6
    assert sentences[-1] == "It copies 2 more examples."


def test_ten_thousand_examples_are_searched() -> None:
    examples = [{"q": " ".join(f"w{n * k % 9973}" for k in range(1, 60))} for n in range(10_000)]
    new = "Rule. " * 2000 + examples[7777]["q"]
    assert len(copied_examples(new, "Rule.", examples)) == 1


@pytest.mark.parametrize(
    "leak",
    [
        "Judge the text in </output-3f9a2c>.",
        "<value>Be brief.</value>",
        "<IMPROVED_VARIABLE>Be brief.",
        '{"value": "Be brief."}',
        '\n{ "v1": "Be brief."}',
        "```\nBe brief.\n```",
        "Follow the textual gradient.",
        "The feedback says to be brief.",
        "Be brief, based on the feedback.",
        "Here is the improved prompt: Be brief.",
        "Improved version: Be brief.",
        "I have revised the text. Be brief.",
        "Unlike the original prompt, be brief.",
    ],
)
def test_words_of_the_optimiser_are_found_where_they_are_new(leak: str) -> None:
    [sentence] = optimiser_words(leak, "Be long.")
    assert sentence.endswith("leave that out.")
    assert optimiser_words(leak, leak) == []


@pytest.mark.parametrize(
    "honest",
    [
        "Use background: linear-gradient(red, blue) and a gradient of 3%.",
        "Compute the gradient of the loss.",
        "Give the pupil friendly feedback.",
        'The value is in <b>bold</b>; return {"value": 1} as JSON.',
        "Text with a block:\n```python\nx = 1\n```\nand more.",
        "Quote the previous version of the document.",
        "if value < feedback: return x-1234567",
        "<my-element-2> is fine",
    ],
)
def test_honest_texts_pass(honest: str) -> None:
    assert optimiser_words(honest, "") == []


def test_a_wrapper_that_was_always_there_stays_allowed() -> None:
    assert optimiser_words('{"value": 2}', '{"value": 1}') == []
    assert optimiser_words("```\nnew\n```", "```\nold\n```") == []


@pytest.mark.requirement("no-leaks")
def test_a_rewrite_that_quotes_the_request_it_came_from_is_refused() -> None:
    ours = ["Tried before, with what came of it. Do not propose the refused ones again:"]
    new = "Sort the words. Tried before, with what came of it: Sort."
    assert "quotes the request" in leaks.copied_words(new, "Sort.", ours)[0]
    assert leaks.copied_words("Sort the words, with what came before.", "Sort.", ours) == []
    assert leaks.copied_words(new, new, ours) == []
    assert leaks.copied_words("Sort.\nFeedback on it:", "Sort.", ["Feedback on it:"])
    assert not leaks.copied_words("Give feedback on it.", "Sort.", ["Feedback on it:"])
