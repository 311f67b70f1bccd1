"""What commands print: JSON for programs, colours for terminals, and a script for each shell."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.server.cli.main import main, parser
from textgrad_mcp.server.local.model import MODELS
from textgrad_mcp.server.terminal import Cell, Styles, clean, coloured, one_line

from ...helpers import answered, assisted, own_environment, tools
from ...tour import assistant, improved, judged, sums

COMMAND = [sys.executable, "-m", "textgrad_mcp.server.cli"]
NO_JSON = {
    "serve": "speaks the protocol until the client leaves",
    "model serve": "serves until it is stopped",
    "view": "serves until it is stopped",
    "completion": "prints a script for a shell",
}
"""Commands without --json, and why."""
UNTRIED = {"demo": "needs the real model: test_demo.py runs it"}


@pytest.fixture(autouse=True)
def _an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("TEXTGRAD_MCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture(scope="module")
def improved_session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with a session that a step has improved, and the session's id."""
    path = tmp_path_factory.mktemp("cli") / "t.db"

    async def run() -> str:
        async with tools(assisted(path)) as call:
            s = await sums(call)
            await judged(call, s)
            await answered(call, await call("evaluate", session_id=s), assistant)
            await improved(call, s)
            await answered(call, await call("evaluate", session_id=s), assistant)
            return s

    return path, asyncio.run(run())


def leaves(top: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its parser."""
    deeper = [a for a in top._actions if isinstance(a, argparse._SubParsersAction)]
    for action in deeper:
        for word, child in action.choices.items():
            yield from leaves(child, f"{name} {word}".strip())
    if not deeper:
        yield name, top


LEAVES = dict(leaves(parser()))


def arguments(command: str, folder: Path, database: Path, session: str) -> list[str]:
    """Words to add to a command so that it has something to do."""
    tokens = ["--tokens", str(folder / "tokens")]
    exported = folder / "exported.json"
    weights = folder / "cache" / next(iter(MODELS.values())).file
    given = {
        "sessions show": [session],
        "sessions report": [session, str(folder / "report.html")],
        "sessions export": [session, str(folder / "out.json")],
        "sessions import": [str(exported)],
        "sessions delete": [session],
        "sessions prune": ["--older-than", "30"],
        "database backup": [str(folder / "copy.db")],
        "database restore": [str(folder / "backup.db")],
        "database move": [str(database), str(folder / "moved.db")],
        "token new": ["alice", *tokens],
        "token revoke": ["alice", *tokens],
        "install": ["codex"],
    }
    if command == "sessions import":
        to_file = ["sessions", "export", session, str(exported), "--database", str(database)]
        assert main(to_file) == 0
    elif command == "database restore":
        copied = ["database", "backup", str(folder / "backup.db"), "--database", str(database)]
        assert main(copied) == 0
    elif command == "token revoke":
        assert main(["token", "new", "alice", *tokens]) == 0
    elif command == "model pull":
        weights.parent.mkdir(parents=True)
        weights.touch()  # what is here is not fetched again
    stored = ["--database", str(database)] if command.startswith(("sessions", "database")) else []
    return given.get(command, []) + ([] if command == "database schema" else stored)


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_prints_json_when_asked_or_says_why_not(
    command: str,
    tmp_path: Path,
    improved_session: tuple[Path, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = [flag for action in LEAVES[command]._actions for flag in action.option_strings]
    assert ("--json" in flags) != (command in NO_JSON)
    if command in NO_JSON or command in UNTRIED:
        return
    words = [*command.split(), *arguments(command, tmp_path, *improved_session)]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)


def test_commands_without_json_are_commands() -> None:
    assert NO_JSON.keys() | UNTRIED.keys() <= LEAVES.keys()


def test_a_session_is_shown_with_scores_errors_and_how_its_text_came_to_be(
    improved_session: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, session = improved_session
    assert main(["sessions", "show", "--database", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(session)
    assert "0.000 ± 0.000  1.000 ± 0.000  +1.000  v1@1 -> v1@2" in shown
    assert "version 2  step s1  validation 0.00 -> 1.00" in shown
    assert "g1: Ask for digits only." in shown
    assert "-Be kind.\n  +Answer with digits only." in shown
    assert "\x1b" not in shown
    assert main(["sessions", "show", session, "--json", "--database", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    [span] = facts["scores"]
    assert (span["first"]["mean"], span["latest"]["mean"], span["first"]["error"]) == (0, 1, 0)
    assert facts["parameters"][0]["text"] == "Answer with digits only."


def test_colours_change_nothing_but_colours(
    improved_session: tuple[Path, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["sessions", "show", "--database", str(improved_session[0])]
    assert main(words) == 0
    plain = capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(words) == 0
    painted = capsys.readouterr().out
    assert "\x1b[32m+Answer with digits only.\x1b[0m" in painted
    for code in (0, 1, 2, 31, 32, 36):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == plain


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It says so."""
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
    ],
)
def test_colours_are_for_terminals_unless_the_environment_says_otherwise(
    stream: io.StringIO, environ: dict[str, str], wanted: bool
) -> None:
    assert coloured(stream, environ) is wanted


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_gets_colours_and_a_pipe_does_not() -> None:
    environ = {**os.environ, "TERM": "xterm"}
    mine, its = os.openpty()
    with subprocess.Popen([*COMMAND, "config"], stdout=its, env=environ):
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while more := os.read(mine, 65536):
                shown += more
    os.close(mine)
    assert b"\x1b[" in shown
    piped = subprocess.run([*COMMAND, "config"], capture_output=True, env=environ, timeout=60)
    assert b"soft_deadline" in piped.stdout
    assert b"\x1b" not in piped.stdout


def test_stored_text_cannot_drive_a_terminal() -> None:
    assert clean("a\x1b[2Jb\x9bc\rd\u202ee\tf\ng👩‍💻é") == "a�[2Jb�c�d�e\tf\ng👩‍💻é"
    assert one_line("  a\n b  " + "c" * 200, 10) == "a b ccccc…"


def test_a_table_keeps_its_columns_whatever_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[Cell]] = [[("a", "red"), "x"], ["bbb", "y"]]
    assert Styles(io.StringIO()).table(rows) == ["a    x", "bbb  y"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Styles(io.StringIO()).table(rows) == ["\x1b[31ma\x1b[0m    x", "bbb  y"]


def test_a_reader_that_stops_early_is_no_error(improved_session: tuple[Path, str]) -> None:
    words = [*COMMAND, "sessions", "export", improved_session[1]]
    words += ["--database", str(improved_session[0])]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_narrow_encoding_of_the_output_is_no_error(
    improved_session: tuple[Path, str], extra: list[str]
) -> None:
    words = [*COMMAND, "sessions", "show", "--database", str(improved_session[0]), *extra]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, env=environ, capture_output=True, timeout=60, check=True)
    shown = done.stdout.decode("ascii")
    assert json.loads(shown)["scores"] if extra else "0.000 ? 0.000  1.000 ? 0.000" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_every_command(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    words = {word for name in LEAVES for word in name.split()} | {"--json", "--older-than"}
    assert [word for word in words if word.removeprefix("--") not in script] == []


TRIED = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
found=$(complete -p textgrad-mcp); found=${{found##*-F }}
${{found%% *}} textgrad-mcp "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
echo "${{COMPREPLY[@]}}"
"""


def test_bash_completes_commands_flags_choices_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    tried = ("se", 'sessions ""', "install c", "sessions show --js", "serve --tokens comp")
    programs = [TRIED.format(script=script, words=f"textgrad-mcp {words}") for words in tried]
    done = subprocess.run(
        ["bash", "-c", "".join(programs)], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    assert [set(line.split()) for line in done.stdout.splitlines()] == [
        {"serve", "sessions"},
        {"list", "show", "report", "export", "delete", "import", "prune"},
        {"claude-code", "claude-desktop", "cursor", "codex"},
        {"--json"},
        {"completion"},
    ]
