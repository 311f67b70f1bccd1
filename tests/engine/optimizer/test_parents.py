"""Which text is improved next: the newest, the best, or one of the front."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.optimizer.pool import MOST, CandidatePool, PoolEntry, pareto_front
from textgrad_mcp.schemas.arguments.optimize import Parents


def pool(*scores: list[float], current: int = 0) -> CandidatePool:
    """Texts with these scores, in this order."""
    members = [
        PoolEntry(name=str(i), texts={"v1": f"text {i}"}, scores=s) for i, s in enumerate(scores)
    ]
    return CandidatePool(members=members, current=current)


def tables() -> st.SearchStrategy[list[list[float]]]:
    """Scores of a few texts on a few examples."""
    score = st.sampled_from([0.0, 0.5, 1.0])
    sizes = st.tuples(st.integers(1, 6), st.integers(1, 5))
    return sizes.flatmap(
        lambda size: st.lists(
            st.lists(score, min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0]
        )
    )


@given(tables())
def test_the_front_holds_those_that_nothing_else_beats_everywhere(table: list[list[float]]) -> None:
    weights = pareto_front(pool(*table).members)
    for i, (weight, mine) in enumerate(zip(weights, table, strict=True)):
        beaten = any(
            all(a >= b for a, b in zip(other, mine, strict=True)) and (other != mine or j < i)
            for j, other in enumerate(table)
            if j != i
        )
        best_somewhere = any(mine[k] == max(row[k] for row in table) for k in range(len(table[0])))
        assert (weight == 0) == (beaten or not best_somewhere)


@given(tables())
def test_every_example_has_its_best_text_in_the_front(table: list[list[float]]) -> None:
    weights = pareto_front(pool(*table).members)
    for k in range(len(table[0])):
        best = max(row[k] for row in table)
        assert any(w and row[k] == best for w, row in zip(weights, table, strict=True))


@given(tables(), st.integers(0, 99), st.sampled_from(["newest", "best", "pareto"]))
def test_the_same_history_seed_and_iteration_choose_the_same_parent(
    table: list[list[float]], seed: int, how: Parents
) -> None:
    one, same = pool(*table), pool(*table)
    assert one.choose(how, seed, 3) == same.choose(how, seed, 3)


def test_newest_is_what_is_installed_and_best_has_the_highest_mean() -> None:
    texts = pool([0.5, 0.5], [1.0, 0.8], [0.2, 0.9], current=2)
    assert texts.choose("newest", 0, 0).name == "2"
    assert texts.choose("best", 0, 0).name == "1"


def test_of_equally_good_texts_best_is_the_first() -> None:
    assert pool([0.5, 0.5], [1.0, 0.0], current=1).choose("best", 0, 0).name == "0"


def test_pareto_draws_specialists_and_never_a_dominated_text() -> None:
    texts = pool([1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.5, 0.5])
    drawn = [texts.choose("pareto", 0, i).name for i in range(200)]
    assert set(drawn) == {"0", "1"}
    assert drawn.count("1") > drawn.count("0")  # best on two examples of three


def test_a_full_pool_lets_the_weakest_go_and_never_what_is_installed() -> None:
    texts = pool([0.0])
    for i in range(3 * MOST):
        texts.add(PoolEntry(name=f"n{i}", texts={}, scores=[i / 100]), installed=False)
    assert len(texts.members) == MOST
    assert texts.members[texts.current].name == "0"
    assert min(m.mean for m in texts.members if m.name != "0") > 0.4


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=3 * MOST))
def test_what_is_installed_stays_current_whatever_comes_and_goes(
    added: list[tuple[float, bool]],
) -> None:
    texts, installed = pool([0.5]), "0"
    for i, (score, taken) in enumerate(added):
        texts.add(PoolEntry(name=f"n{i}", texts={}, scores=[score]), installed=taken)
        installed = f"n{i}" if taken else installed
        assert texts.members[texts.current].name == installed


def test_after_a_restart_only_what_is_installed_is_left_at_zero() -> None:
    texts = pool([0.0, 0.0], [1.0, 0.5], current=1)
    texts.restart()
    assert [(m.name, m.scores) for m in texts.members] == [("1", [0.0, 0.0])]
    assert texts.current == 0


@pytest.mark.parametrize("how", ["newest", "best", "pareto"])
def test_with_one_text_there_is_no_choice(how: Parents) -> None:
    assert pool([0.0]).choose(how, 7, 7).name == "0"
