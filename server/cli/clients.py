"""Configuration for each client: printed, or written into the client's own file.

Writing keeps what is in the file, makes a backup beside it first, and refuses a file that cannot
be read or that has another entry of our name already. Only Codex's file is TOML: there, our table
is appended, so that comments and order stay as they are.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...schemas.errors import BadInput

NAME = "textgrad"
COMMENTS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True)
class Client:
    """How a client is told of a server: its file, and the key that holds the servers in it."""

    title: str
    file: Callable[[Path], Path]
    key: str = "mcpServers"
    typed: bool = False
    toml: bool = False
    command: str = ""


def _desktop(home: Path) -> Path:
    return _application(home, "Claude") / "claude_desktop_config.json"


def _vscode(home: Path) -> Path:
    return _application(home, "Code") / "User" / "mcp.json"


def _application(home: Path, name: str) -> Path:
    """Where desktop applications keep their configuration on this system."""
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / name
    if sys.platform == "win32":
        return home / "AppData" / "Roaming" / name
    return home / ".config" / name


CLIENTS = {
    "claude-code": Client(
        "Claude Code",
        lambda home: home / ".claude.json",
        typed=True,
        command="claude mcp add textgrad -- {words}",
    ),
    "claude-desktop": Client("Claude Desktop", _desktop),
    "cursor": Client("Cursor", lambda home: home / ".cursor" / "mcp.json"),
    "vscode": Client("VS Code", _vscode, key="servers", typed=True),
    "codex": Client(
        "Codex",
        lambda home: home / ".codex" / "config.toml",
        key="mcp_servers",
        toml=True,
        command="codex mcp add textgrad -- {words}",
    ),
}


def recipe(client: str, words: Sequence[str], home: Path) -> str:
    """What to put where, in words and as text to copy."""
    one = CLIENTS[client]
    either = (
        f"Run:  {one.command.format(words=' '.join(words))}\nor put " if one.command else "Put "
    )
    return (
        f"{either}this into {one.file(home)} and restart {one.title}"
        f" (textgrad-mcp install {client} --write does it):\n\n{_snippet(one, words)}"
    )


def facts(client: str, words: Sequence[str], home: Path) -> dict[str, Any]:
    """The same for a program: the client's `file`, and the `entry` under the `key` in it."""
    one = CLIENTS[client]
    path = str(one.file(home))
    return {"client": client, "file": path, "key": one.key, "entry": {NAME: _entry(one, words)}}


def write(client: str, words: Sequence[str], home: Path) -> str:
    """Put the server into the client's file; what was done, in words.

    Raises BadInput when the file cannot be read, or has another server of our name.
    """
    one = CLIENTS[client]
    path = one.file(home)
    path = path.resolve()  # a file that is a link stays one
    old = _read(path)
    content = _parse(one, old, path)
    present = content.get(one.key, {})
    if not isinstance(present, dict):
        raise BadInput(f"{one.key!r} in {path} is not a table.", "Mend it by hand.")
    if NAME in present:
        return _already(present[NAME], one, words, path)
    new = _with_ours(one, old, content, words)
    backup = _save(path, old, new)
    kept = f" What was there is kept, and a copy of it is {backup}." if backup else ""
    return f"{one.title} now has the server {NAME!r} in {path}.{kept} Restart {one.title}."


def _entry(one: Client, words: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "stdio"} if one.typed else {}
    return entry | {"command": words[0]} | ({"args": list(words[1:])} if words[1:] else {})


def _snippet(one: Client, words: Sequence[str]) -> str:
    entry = _entry(one, words)
    if one.toml:
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
        return "\n".join([f"[{one.key}.{NAME}]", *lines, ""])
    return json.dumps({one.key: {NAME: entry}}, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.", "Nothing was written.") from error


def _parse(one: Client, text: str | None, path: Path) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    try:
        content = tomllib.loads(text) if one.toml else json.loads(text)
    except ValueError as error:
        why = " (comments would be lost: add the entry by hand)" if _is_commented(text) else ""
        raise BadInput(
            f"{path} is not plain {'TOML' if one.toml else 'JSON'}: {error}{why}.",
            "Nothing was written. Without --write the entry is printed.",
        ) from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds no object.", "Nothing was written.")
    return content


def _is_commented(text: str) -> bool:
    return any(not found.startswith('"') for found in COMMENTS.findall(text))


def _already(present: object, one: Client, words: Sequence[str], path: Path) -> str:
    if present == _entry(one, words):
        return f"{path} has the server {NAME!r} already. Nothing was written."
    raise BadInput(
        f"{path} has another server named {NAME!r}.",
        "Nothing was written. Remove that one first, or change it by hand.",
    )


def _with_ours(
    one: Client, old: str | None, content: Mapping[str, Any], words: Sequence[str]
) -> str:
    if one.toml:
        before = old or ""
        gap = "" if not before.strip() else "\n" if before.endswith("\n") else "\n\n"
        new = before + gap + _snippet(one, words)
        _check_toml(new)
        return new
    servers = {**content.get(one.key, {}), NAME: _entry(one, words)}
    return json.dumps({**content, one.key: servers}, indent=2, ensure_ascii=False) + "\n"


def _check_toml(text: str) -> None:
    """An inline `mcp_servers = {...}` cannot be added to by appending."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(
            f"The table cannot be appended: {error}.", "Nothing was written: add it by hand."
        ) from error


def _save(path: Path, old: str | None, new: str) -> Path | None:
    """Write a backup, then the file, at once and with its mode; the backup's path, if any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) if old is not None else 0o600
    backup = None
    if old is not None:
        backup = path.with_name(f"{path.name}.before-textgrad-{secrets.token_hex(3)}")
        _create(backup, old, mode)
    spare = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _create(spare, new, mode)
    spare.replace(path)
    return backup


def _create(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode())
    path.chmod(mode)
