"""How rows are split: by seed, evenly by label, with copies together; and which field is what."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.data.labelled import table_of
from textgrad_mcp.engine.data.splits import MOST, split
from textgrad_mcp.schemas.errors import BadInput

LONG = "The quick brown fox jumps over the lazy dog near the old river bank today"
Rows = list[dict[str, str]]


def numbered(count: int, labels: str = "abc") -> Rows:
    """Rows with different inputs; of each label as many as can be."""
    return [{"q": f"question {n}", "a": labels[n % len(labels)]} for n in range(count)]


@pytest.mark.requirement("splits")
@given(st.integers(2, 120), st.integers(0, 5))
def test_every_row_is_in_one_split_and_the_same_seed_gives_the_same(count: int, seed: int) -> None:
    rows = numbered(count)
    parted = split(rows, "a", seed)
    dealt = [row for part in parted.rows.values() for row in part]
    assert sorted(map(str, dealt)) == sorted(map(str, rows))
    assert split(rows, "a", seed) == parted
    assert parted.rows["train"]
    assert parted.rows["validation"]
    assert ("test" in parted.rows) == (count >= 10)


@pytest.mark.requirement("splits")
@pytest.mark.parametrize("labels", ["ab", "abc", "abcd", "aaaab"])
def test_each_split_has_its_share_of_each_label(labels: str) -> None:
    rows = numbered(100, labels)
    for name, part in split(rows, "a", 7).rows.items():
        found = Counter(row["a"] for row in part)
        for label, count in Counter(row["a"] for row in rows).items():
            share = {"train": 0.4, "validation": 0.4, "test": 0.2}[name]
            assert abs(found[label] - share * count) <= 1, (name, label)


@pytest.mark.requirement("splits")
@pytest.mark.parametrize(
    "copy",
    [
        LONG,
        LONG.upper() + "!",
        f"  {LONG}  ".replace(" ", "  "),
        LONG.replace("old", "small"),
        LONG + " please",
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_copies_of_an_input_stay_together(copy: str, seed: int) -> None:
    rows = [*numbered(20), {"q": LONG, "a": "a"}, {"q": copy, "a": "b"}]
    parted = split(rows, "a", seed)
    where = [
        name for name, part in parted.rows.items() for row in part if "fox" in row["q"].lower()
    ]
    assert len(where) == 2
    assert len(set(where)) == 1
    assert "2 examples with equal or nearly equal inputs were kept together" in parted.notes[1]


def test_another_number_is_another_question() -> None:
    rows = [{"q": f"{LONG}, at {n} o'clock", "a": str(n)} for n in range(12)]
    parted = split(rows, "a", 0)
    assert {name: len(part) for name, part in parted.rows.items()} == {
        "train": 5,
        "validation": 5,
        "test": 2,
    }


def test_inputs_of_one_form_are_no_copies() -> None:
    names = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ivy", "jon", "kim", "lou"]
    rows = [{"q": f"{LONG} with {name}", "a": name} for name in names]
    assert all(part for part in split(rows, "a", 0).rows.values())


def test_what_is_paid_for_in_every_step_is_bounded_and_the_rest_is_learnt_from() -> None:
    parted = split(numbered(1000), "a", 0)
    sizes = {name: len(part) for name, part in parted.rows.items()}
    assert sizes == {"train": 850, **MOST}
    assert parted.notes == ["Split by seed 0, evenly by 'a': 850 train, 50 validation, 100 test."]


@pytest.mark.parametrize("rows", [numbered(1), [{"q": "x", "a": "1"}, {"q": "X.", "a": "2"}]])
def test_what_cannot_be_split_is_refused(rows: Rows) -> None:
    with pytest.raises(BadInput, match="cannot be split") as refused:
        split(rows, "a", 0)
    assert "at least 2 different ones" in refused.value.next


@pytest.mark.parametrize(
    ("names", "asked", "compared", "inputs", "answer"),
    [
        (["q", "answer"], {}, True, ["q"], "answer"),
        (["answer", "q"], {}, True, ["q"], "answer"),
        (["Label", "text"], {}, True, ["text"], "Label"),
        (["ticket", "code"], {}, True, ["ticket"], "code"),
        (["input", "output"], {}, True, ["input"], "output"),
        (["input", "output"], {}, False, ["input"], None),
        (["system", "input", "output"], {}, False, ["input"], None),
        (["input", "output"], {"fields": ["input", "output"]}, False, ["input", "output"], None),
        (["a", "b", "c"], {"answer": "b"}, True, ["a", "c"], "b"),
        (["a", "b", "c"], {"answer": "b", "fields": ["c"]}, True, ["c"], "b"),
        (["a", "b", "c"], {"fields": ["a", "b"]}, True, ["a", "b"], "c"),
        (["system", "input", "label"], {}, True, ["input"], "label"),
    ],
)
def test_fields_are_told_by_their_names(
    names: list[str], asked: dict[str, object], compared: bool, inputs: list[str], answer: str
) -> None:
    rows = [dict.fromkeys(names, "x")]
    given = {"answer": None, "fields": None} | asked
    table = table_of(rows, "p", compared=compared, **given)  # type: ignore[arg-type]
    assert (table.inputs, table.answer) == (inputs, answer)
    unused = [n for n in names if n not in (*inputs, answer)]
    assert any("Not used" in note for note in table.notes) == bool(unused)


@pytest.mark.parametrize(
    ("names", "asked", "words"),
    [
        (["a", "b", "c"], {}, "Which field"),
        (["label", "answer", "q"], {}, "Which field"),
        (["q", "answer"], {"answer": "anser"}, "Did you mean 'answer'"),
        (["q", "answer"], {"fields": ["question"]}, "no field 'question'"),
        (["q", "answer"], {"fields": ["answer"], "answer": "answer"}, "must not see"),
        (["answer"], {}, "no field but"),
    ],
)
def test_fields_that_cannot_be_told_are_asked_for(
    names: list[str], asked: dict[str, object], words: str
) -> None:
    given = {"answer": None, "fields": None} | asked
    with pytest.raises(BadInput, match=words):
        table_of([dict.fromkeys(names, "x")], "p", compared=True, **given)  # type: ignore[arg-type]


def test_the_prompt_of_a_log_is_the_one_most_rows_were_held_under() -> None:
    rows = [{"system": "Be kind.", "input": f"{n}", "output": "hm"} for n in range(3)]
    rows += [{"system": "Be brief.", "input": "x", "output": "hm"}]
    table = table_of(rows, None, None, ["input"], compared=False)
    assert (table.prompt, len(table.rows)) == ("Be kind.", 3)
    assert "3 of 4 examples ('Be kind.')" in table.notes[0]
    with pytest.raises(BadInput, match="no prompt to improve"):
        table_of([{"input": "x"}], None, None, None, compared=False)


@pytest.mark.requirement("splits")
@given(st.permutations("aaaaaaaabbbc" * 3))
def test_the_first_rows_to_learn_from_have_each_label(labels: list[str]) -> None:
    rows = [{"q": f"question {n}", "a": label} for n, label in enumerate(labels)]
    assert {row["a"] for row in split(rows, "a", 0).rows["train"][:3]} == {"a", "b", "c"}
