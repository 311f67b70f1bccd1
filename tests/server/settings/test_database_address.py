"""The address of a database on a server: read where settings come from, its password not shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.database import PostgresAddress, located
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.cli.config_table import as_text, facts
from textgrad_mcp.server.cli.main import main
from textgrad_mcp.server.settings.load import load
from textgrad_mcp.server.terminal import Styles

from ...helpers import own_environment, printed_by

SECRET = "geheim"
URL = f"postgresql://tg:{SECRET}@db.example:5433/fleet?sslmode=require"
SHOWN = "postgresql://tg@db.example:5433/fleet"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_environment(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.requirement("fleet-password")
def test_an_address_is_shown_without_its_password_wherever_it_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'database = "{URL}"\n')
    for flags, environ, path in (
        ({}, {"TEXTGRAD_MCP_DATABASE": URL}, None),
        ({}, {}, file),
        ({"database": SHOWN}, {"TEXTGRAD_MCP_DATABASE_PASSWORD": SECRET}, None),
    ):
        settings, origins = load(flags, environ, path)
        address = settings.database
        assert isinstance(address, PostgresAddress)
        assert (address.secret, str(address)) == (SECRET, SHOWN)
        shown = as_text(settings, origins, tmp_path, Styles())
        told = [shown, facts(settings, origins, tmp_path), settings, settings.model_dump_json()]
        assert not [one for one in told if SECRET in f"{one} {one!r}"]
        assert SHOWN in shown


@pytest.mark.requirement("fleet-password")
@pytest.mark.parametrize(
    "flags", [{"database": URL}, {"database_password": SECRET}], ids=["address", "setting"]
)
def test_a_password_on_the_command_line_is_refused(flags: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="seen by everyone") as refused:
        load(flags, {})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        Path(URL),
        f"{SHOWN}?password={SECRET}",
        f"postgresql://tg:half/{SECRET}@db/fleet",
        f"postgresql://tg:at@{SECRET}@db/fleet",
        f"postgresql://tg:hash#{SECRET}@db/fleet",
    ],
    ids=["a path", "in the query", "a slash", "an at", "a hash"],
)
def test_an_address_that_cannot_be_used_makes_no_folder(given: Path | str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"address|password") as refused:
        located(given)
    with pytest.raises(ValueError, match="database"):
        Settings.model_validate({"database": given})
    assert SECRET not in str(refused.value)
    with pytest.raises(BadInput) as said:
        load({}, {"TEXTGRAD_MCP_DATABASE": str(given)})
    assert SECRET not in str(said.value)
    if isinstance(given, Path):
        with pytest.raises(BadInput):
            Store(given)
    assert os.listdir(tmp_path) == []


def test_without_the_extra_a_command_says_what_to_install(tmp_path: Path) -> None:
    command = f"""
import sys
sys.modules["psycopg"] = None
from textgrad_mcp.server.cli.main import main
from contextlib import redirect_stderr
import io
with redirect_stderr(io.StringIO()) as said:
    code = main(["sessions", "list", "--database", "{SHOWN}"])
print(code, said.getvalue())
"""
    said = printed_by(command)
    assert said.startswith("2 ")
    assert "pip install 'textgrad-mcp[postgres]'" in said


def test_a_backup_is_not_put_in_the_place_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["database", "restore", "x.db", "--database", SHOWN]) == 2
    assert "pg_restore" in capsys.readouterr().err
