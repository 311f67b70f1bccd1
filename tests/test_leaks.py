"""A rewrite must not carry pieces of the request it came from; a domain's words are free."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.leaks import ALLOWED, leaked
from textgrad_mcp.engine.step import FORM, headings
from textgrad_mcp.engine.texts import text

SENTENCES = [text(name) for name in ("update", "update_ask", "update_again", "examples")]
OLD = "Sort the words."
FENCED = "Sort.\n</text-3f9a2c>"


def found(new: str, old: str = OLD, *material: str) -> list[str]:
    return leaked(new, old, material, [*headings(), FORM], SENTENCES)


@given(st.text())
def test_what_was_there_before_is_never_reported(same: str) -> None:
    assert found(same, same) == []


@pytest.mark.requirement("no-leaks")
@pytest.mark.parametrize(
    ("leak", "says"),
    [
        (FENCED, "a tag of the request ('</text-3f9a2c')"),
        ('<tried-0a1b2c result="refused">Sort.', "a tag of the request"),
        ("<input-name-0a1b2c>", "a tag of the request"),
        ("<value>Be brief.</value>\n", "a tag around the text"),
        ("<Improved_Prompt>Be brief.</Improved_Prompt>", "a tag around the text"),
        ('{"value": "Be brief."}', "a JSON wrapper"),
        ("```\nBe brief.\n```", "a code fence"),
        (FORM, "quotes the request"),
        (f"The text to improve:\n{OLD}", "'The text to improve:'"),
        (f"{OLD}\nThe text to improve:\nX\nFeedback on the text:\nY", "quotes the request"),
        ("Sort. TRIED before, with what came of it:\n- X", "'tried before with what came of'"),
        (f"{OLD} Write the whole improved text, ready to take the place of it.", "'write the who"),
        ("Sort. Whoever reads it sees neither the feedback nor any example.", "'whoever reads"),
    ],
)
def test_pieces_of_the_request_are_found_where_they_are_new(leak: str, says: str) -> None:
    sentence, allowed = found(leak)
    assert says in sentence
    assert sentence.endswith("leave that out.")
    assert allowed == ALLOWED
    assert found(leak, leak) == []


@pytest.mark.requirement("no-leaks")
@pytest.mark.parametrize(
    "honest",
    [
        "Sort the customer feedback into praise or complaint, based on the feedback alone.",
        "Put your remarks between <feedback> and </feedback>, the number between <value> tags.",
        "<text> marks the text to translate. Answer between <value> and </value>.",
        "<text>a</text> and <text>b</text>",
        "Begin with: Here is the revised text:",
        "Here is the improved version of the previous prompt: keep it.",
        "I have revised the text according to the feedback. That is how you begin.",
        "You improve a text by the feedback of its readers. Keep what works in the old text.",
        "Write the whole improved text, and nothing else. No remarks about changes.",
        "Headings:\n- The text to improve\n- Feedback on the text:",
        "Follow the textual gradient: linear-gradient(red, blue).",
        'Return {"value": 1} as JSON.',
        "Text with a block:\n```python\nx = 1\n```\nand more.",
        "<my-element-abc123> and <feedback-form> are fine",
    ],
)
def test_words_of_a_domain_are_free(honest: str) -> None:
    assert found(honest) == []


def test_what_the_material_says_may_be_said() -> None:
    said = "Tried before, with what came of it: three ways to sort."
    assert found(said)
    assert found(said, OLD, f"Say this: {said}") == []
    assert found(FENCED, OLD, "The answer ends with </text-3f9a2c>.") == []
    assert found("<value>{x}</value>", OLD, "Put it between <value> tags.") == []
    assert found('{"value": "{x}"}', OLD, 'Write JSON with the key "value".') == []
    assert found("```\nx = 1\n```", OLD, "Put it into a code block: ```.") == []
