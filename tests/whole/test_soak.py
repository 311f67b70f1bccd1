"""The short form of the soak (`make soak` is the long one); and its reconciliation finds faults."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ..reconcile import memory_of, reconcile
from ..soak import Load, Ran, report_on, run

SHORT = Load(seconds=4, http=6, stdio=2, call_timeout=2.0, latency=0.01)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(SHORT, tmp_path_factory.mktemp("soak"))


@pytest.mark.requirement("soak")
def test_under_load_and_faults_nothing_is_lost_doubled_or_asked_twice(ran: Ran) -> None:
    report = report_on(ran)
    assert report["problems"] == []
    counted = report["reconciliation"]
    assert counted["bad requests"] + counted["stalled requests"] > 0
    assert counted["good replies recorded"] == counted["calls in the ledger"] > 100
    assert report["clients"]["sessions"] >= SHORT.http + SHORT.stdio
    assert set(report["memory_mib"]) == {"http", "stdio0", "stdio1"}


@pytest.mark.requirement("soak")
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (
            "DELETE FROM calls WHERE rowid = (SELECT max(rowid) FROM calls)",
            ["good replies lost", "requests without a recorded attempt"],
        ),
        (
            "UPDATE calls SET status = 'pending', text = NULL WHERE n = 1",
            ["calls left pending", "good replies lost"],
        ),
        (
            "UPDATE calls SET text = (SELECT text FROM calls WHERE n = 1 AND session = 1) "
            "WHERE n = 2 AND session = 1",
            [
                "recorded more than once",
                "recorded under another request",
                "good replies lost",
            ],
        ),
    ],
)
def test_a_damaged_ledger_does_not_add_up(
    ran: Ran, tmp_path: Path, damage: str, found: list[str]
) -> None:
    damaged = tmp_path / "damaged.db"
    shutil.copy(ran.database, damaged)
    with closing(sqlite3.connect(damaged)) as db, db:
        db.execute(damage)
    problems = reconcile(damaged, ran.log, ran.given).problems
    # When the one reply came may add to it: "asked again after being recorded".
    assert set(found) <= {problem.partition(":")[0] for problem in problems}


@pytest.mark.requirement("soak")
def test_a_request_that_is_sent_again_after_its_reply_is_found(ran: Ran) -> None:
    index = max(ran.given) + 1
    first = next(seen for seen in ran.log if ran.given[seen.index] == "good")
    log = [*ran.log, replace(first, index=index)]
    problems = reconcile(ran.database, log, ran.given | {index: "bad"}).problems
    assert problems == [
        "asked again after being recorded: 1",
        "requests without a recorded attempt: 1",
    ]


@pytest.mark.requirement("soak")
def test_memory_that_grows_is_found_and_memory_that_settles_is_not() -> None:
    settled = [80_000] * 10 + [110_000] * 190
    growing = [80_000 + 500 * n for n in range(200)]
    _, grown = memory_of({"settled": settled, "growing": growing})
    assert [line.partition(" ")[0] for line in grown] == ["growing"]
