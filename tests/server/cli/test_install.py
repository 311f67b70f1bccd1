"""`textgrad-mcp install`: prints by default; writes beside what is there, with a backup."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.cli.clients import CLIENTS, recipe, write
from textgrad_mcp.server.cli.main import main

WORDS = ["/opt/bin/textgrad-mcp"]


def parsed(client: str, text: str) -> dict[str, object]:
    """A client's file as data."""
    found: dict[str, object] = tomllib.loads(text) if CLIENTS[client].toml else json.loads(text)
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_the_recipe_names_the_file_and_writes_nothing(client: str, tmp_path: Path) -> None:
    text = recipe(client, WORDS, tmp_path)
    assert str(CLIENTS[client].file(tmp_path)) in text
    assert WORDS[0] in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_new_file_holds_the_server_alone_and_is_private(client: str, tmp_path: Path) -> None:
    write(client, [*WORDS, "--model", "x"], tmp_path)
    path = CLIENTS[client].file(tmp_path)
    servers = parsed(client, path.read_text())[CLIENTS[client].key]
    assert isinstance(servers, dict)
    entry = servers["textgrad"]
    assert (entry["command"], entry["args"]) == (WORDS[0], ["--model", "x"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_there_is_kept_with_its_mode_and_a_backup(client: str, tmp_path: Path) -> None:
    one = CLIENTS[client]
    path = one.file(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = (
        f'# mine\nmodel = "o"\n[{one.key}.other]\ncommand = "x"'
        if one.toml
        else json.dumps({"theme": "dark", one.key: {"other": {"command": "x"}}})
    )
    path.write_text(old)
    path.chmod(0o644)
    write(client, WORDS, tmp_path)
    content = parsed(client, path.read_text())
    before = parsed(client, old)
    servers = content.pop(one.key)
    others = before.pop(one.key)
    assert isinstance(servers, dict)
    del servers["textgrad"]
    assert (content, servers) == (before, others)
    assert not one.toml or path.read_text().startswith(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    (backup,) = (p for p in path.parent.iterdir() if "before-textgrad" in p.name)
    assert backup.read_text() == old


@pytest.mark.parametrize("client", CLIENTS)
def test_writing_twice_changes_nothing_more(client: str, tmp_path: Path) -> None:
    write(client, WORDS, tmp_path)
    path = CLIENTS[client].file(tmp_path)
    once = path.read_bytes()
    assert "already" in write(client, WORDS, tmp_path)
    assert path.read_bytes() == once


@pytest.mark.parametrize("client", CLIENTS)
def test_another_server_of_our_name_is_never_replaced(client: str, tmp_path: Path) -> None:
    write(client, ["something-else"], tmp_path)
    with pytest.raises(BadInput, match="another server"):
        write(client, WORDS, tmp_path)


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("vscode", '{// mine\n"servers": {}}'),
        ("cursor", "{"),
        ("cursor", "[]"),
        ("cursor", '{"mcpServers": 1}'),
        ("codex", "= 1"),
        ("codex", 'mcp_servers = { other = { command = "x" } }\n'),
    ],
)
def test_a_file_that_cannot_be_added_to_is_left_as_it_is(
    client: str, text: str, tmp_path: Path
) -> None:
    path = CLIENTS[client].file(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(BadInput):
        write(client, WORDS, tmp_path)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.json"
    target.write_text("{}")
    link = CLIENTS["cursor"].file(tmp_path)
    link.parent.mkdir()
    link.symlink_to(target)
    write("cursor", WORDS, tmp_path)
    assert link.is_symlink()
    assert "textgrad" in target.read_text()


def test_the_command_line_prints_by_default_and_writes_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["install", "cursor", "--uvx"]) == 0
    assert '"command": "uvx"' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main(["install", "cursor", "--uvx", "--write"]) == 0
    assert (tmp_path / ".cursor" / "mcp.json").is_file()
