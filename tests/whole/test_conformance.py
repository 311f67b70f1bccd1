"""The official conformance suite against our server with the suite's fixtures."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import npm

TESTS = Path(__file__).parent.parent
SCENARIOS = {"2026-07-28": 37, "2025-11-25": 30}
"""How many scenarios each revision requires."""

NOT_OURS = {
    "server-sse-polling": "not scored: resuming a stream needs a store of sent events; runs are "
    "resumed by `resume` instead",
    "tasks-": "not scored: the tasks extension is not in this SDK; long work is a run",
}
"""Scenarios the suite runs without counting them, and why they may fail."""

pytestmark = npm.needs_clients


@contextlib.contextmanager
def serving(database: Path) -> Iterator[str]:
    """The server in a process of its own; gives its address."""
    command = [sys.executable, "-W", "ignore", str(TESTS / "conformance_server.py"), str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run_suite(url: str, revision: str, home: Path) -> tuple[int, str]:
    """The suite's exit code and what it wrote."""
    options = ["server", "--url", url, "--requirements", revision]
    done = npm.run("conformance", options, home=home)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.requirement("conformance")
@pytest.mark.parametrize("revision", SCENARIOS)
def test_every_scored_scenario_passes(tmp_path: Path, revision: str) -> None:
    with serving(tmp_path / "t.db") as url:
        code, said = run_suite(url, revision, tmp_path)
    summary = said.partition("=== SUMMARY ===")[2]
    table, _, uncounted = summary.partition("Not scored for")
    print(f"\n{revision}{table}\nNot scored for{uncounted}")
    unscored = set(re.findall(r"^  [✓✗] (\S+)", uncounted, re.MULTILINE))
    verdicts = dict(re.findall(r"^[✓✗] (\S+): \d+ passed, (\d+) failed$", table, re.MULTILINE))
    scored = {name: failed for name, failed in verdicts.items() if name not in unscored}
    assert len(scored) == SCENARIOS[revision]
    assert set(scored.values()) == {"0"}
    assert code == 0, said
    failing = re.findall(r"^  ✗ (\S+)", uncounted, re.MULTILINE)
    assert [name for name in failing if not name.startswith(tuple(NOT_OURS))] == []
