"""`sessions` and `database` on the command line: what a person with the file can do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.server.cli.main import main

from ...helpers import own_environment


@pytest.fixture(autouse=True)
def _an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_environment(monkeypatch, tmp_path)


class Line:
    """The command line on one database."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.capsys = capsys

    def __call__(self, *words: object, code: int = 0) -> str:
        """What a command prints, both streams; its exit code is checked."""
        assert main([*map(str, words), "--database", str(self.path)]) == code
        shown = self.capsys.readouterr()
        return shown.out + shown.err

    def make(self, owner: str = "local", title: str = "a title") -> str:
        """A new session's id."""

        async def run() -> str:
            store = Store(self.path)
            await store.open()
            session = await store.sessions.create(owner, title)
            await store.close()
            return session.id

        return asyncio.run(run())


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(tmp_path / "t.db", capsys)


def test_sessions_are_listed_with_their_owners(line: Line) -> None:
    mine, hers = line.make(), line.make("alice", "line\nbreak\x1b[31m")
    shown = line("sessions", "list")
    assert mine in shown
    assert hers in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2
    assert mine not in line("sessions", "list", "--owner", "alice")
    facts: list[dict[str, Any]] = json.loads(line("sessions", "list", "--json"))
    assert {f["owner"] for f in facts} == {"local", "alice"}


def test_a_session_is_shown_with_its_report(line: Line) -> None:
    session = line.make()
    shown = line("sessions", "show", session)
    assert session in shown
    assert "Nothing was evaluated." in shown
    assert line("sessions", "show") == shown


def test_a_session_goes_into_a_file_and_comes_back(line: Line, tmp_path: Path) -> None:
    session, file = line.make(), tmp_path / "session.json"
    line("sessions", "export", session, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(line("sessions", "export", session)) == json.loads(file.read_text())
    other = Line(tmp_path / "other.db", line.capsys)
    other.make()
    assert session in other("sessions", "import", file, "--owner", "alice")
    assert session in other("sessions", "list", "--owner", "alice")
    assert session not in line("sessions", "import", file)


def test_an_export_overwrites_nothing(line: Line, tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    file.write_text("precious")
    assert "cannot be made" in line("sessions", "export", line.make(), file, code=2)
    assert file.read_text() == "precious"


@pytest.mark.parametrize("content", ["", "{", "[NaN]", '{"a": 1}', "[" * 100_000, "\xff"])
def test_a_bad_file_is_refused_in_words(line: Line, tmp_path: Path, content: str) -> None:
    line.make()
    file = tmp_path / "bad.json"
    file.write_bytes(content.encode("latin-1"))
    shown = line("sessions", "import", file, code=2)
    assert "Nothing was imported" in shown
    assert len(line("sessions", "list").splitlines()) == 1


def test_deleting_says_what_it_would_do_until_told_yes(line: Line) -> None:
    session = line.make()
    assert "--yes" in line("sessions", "delete", session)
    assert session in line("sessions", "list")
    line("sessions", "delete", session, "--yes")
    assert "no sessions" in line("sessions", "list")


def test_pruning_spares_what_is_in_use(line: Line) -> None:
    line.make()
    assert "0 deleted" in line("sessions", "prune", "--older-than", "30", "--yes")
    assert "1 deleted" in line("sessions", "prune", "--older-than", "0", "--yes")


def test_unknown_sessions_and_databases_are_said_to_be_unknown(line: Line) -> None:
    assert "no database" in line("sessions", "list", code=2)
    assert not line.path.exists()
    line.make()
    assert "no session" in line("sessions", "show", "tg_unknown", code=2)
    assert "cannot be read" in line("sessions", "import", line.path.parent / "none", code=2)


@pytest.mark.requirement("check")
def test_a_database_is_checked_and_copied(line: Line, tmp_path: Path) -> None:
    line.make()
    copy = tmp_path / "copy.db"
    assert "is whole" in line("database", "check")
    line("database", "backup", copy)
    assert "exists already" in line("database", "backup", copy, code=2)
    assert "is whole" in Line(copy, line.capsys)("database", "check")
    elsewhere = tmp_path / "nowhere" / "copy.db"
    assert "could not be written" in line("database", "backup", elsewhere, code=2)


def test_the_schema_of_a_file_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["database", "schema"]) == 0
    assert "variables" in json.loads(capsys.readouterr().out)["properties"]
