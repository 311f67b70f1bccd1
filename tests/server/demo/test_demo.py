"""The demo's data and report; the run with the real model is marked slow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.demo import dates
from textgrad_mcp.server.demo.report import Outcome, report
from textgrad_mcp.server.demo.screen import Screen
from textgrad_mcp.server.demo.tasks import SPLITS, TASKS, task
from textgrad_mcp.server.local.model import path_of
from textgrad_mcp.server.terminal import Styles


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_120_items_in_three_splits_that_share_none(name: str) -> None:
    folder = Path(dates.__file__).parent / "data"
    files = [folder / f"{name}.{split}.jsonl" for split in SPLITS]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    assert len(lines) >= 120
    assert len(set(lines)) == len(lines)
    for split in SPLITS:
        assert all(set(row) == {"input", "answer"} for row in TASKS[name].rows(split))


@pytest.mark.parametrize("split", SPLITS)
def test_the_tickets_are_balanced_over_the_house_codes(split: str) -> None:
    counts = Counter(row["answer"] for row in TASKS["tickets"].rows(split))
    assert set(counts) == {"FIN", "SEC", "ENG", "GEN"}
    assert max(counts.values()) <= 2 * min(counts.values())


def test_the_dates_files_are_what_their_script_writes(tmp_path: Path) -> None:
    dates.write(tmp_path)
    committed = Path(dates.__file__).parent / "data"
    for split in SPLITS:
        name = f"dates.{split}.jsonl"
        assert (tmp_path / name).read_bytes() == (committed / name).read_bytes()


def test_an_unknown_task_is_refused_with_the_list() -> None:
    with pytest.raises(BadInput, match="dates, tickets"):
        task("nonsense")


def figures(before: float, after: float) -> str:
    evaluation = {"examples": 48, "standard_error": 0.05}
    found = {"score_before": before, "score_after": after, "stopped": "goal", "proposals": []}
    session = {
        "parameters": [{"first_text": "Find the date.", "text": "Write the date as YYYY-MM-DD."}],
        "proposals": {"accepted": 1, "refused: no gain on the minibatch": 2},
        "price": {"calls": 90, "tokens": 12345},
    }
    outcome = Outcome(
        TASKS["dates"],
        evaluation | {"mean_score": before},
        found,
        evaluation | {"mean_score": after},
        session,
        130.0,
    )
    assert json.dumps(outcome.facts())
    return report(outcome, Styles(io.StringIO()))


def test_the_report_tells_a_gain_from_noise_and_from_nothing() -> None:
    assert "Gained +0.90 on unseen items, well beyond noise." in figures(0.0, 0.9)
    assert "which may be noise" in figures(0.5, 0.55)
    assert "Nothing was gained" in figures(0.5, 0.5)


def test_the_report_shows_the_prompts_change_and_the_price() -> None:
    text = figures(0.0, 0.9)
    assert "-Find the date." in text
    assert "+Write the date as YYYY-MM-DD." in text
    assert "90 model calls, 12,345 tokens" in text


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.phase("optimising")
    screen.progress(3, 10, "proposing: 3 of 10 calls answered")
    assert stream.getvalue().splitlines()[1].strip() == "proposing: 3 of 10 calls answered"
    assert "\r" not in stream.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(path_of("qwen2.5-coder-1.5b") is None, reason="textgrad-mcp model pull first")
def test_the_demo_runs_to_its_report_with_the_real_model() -> None:
    command = [sys.executable, "-m", "textgrad_mcp.server.cli", "demo", "--steps", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=True)
    assert "items the optimiser never saw" in done.stdout
    assert "The prompt:" in done.stdout
