"""`textgrad-mcp sessions ...` and `database ...`: care of the data, for whoever has the file."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...schemas.errors import BadInput, NotFound
from ...schemas.text import no_constant
from ..page.commands import add_report_options
from .output import remarked, told
from .parser import SET, add_json, number

if TYPE_CHECKING:
    from ...engine.store import Store
    from ...schemas.database import Location
    from ...schemas.graph import Session
    from ...schemas.settings import Settings

MOST_BYTES = 512 * 1024 * 1024
Work = Callable[["Store", argparse.Namespace], Awaitable[int]]


def add(commands: Any, flags: argparse.ArgumentParser) -> None:
    """Add both commands to the command line; `flags` are those of the settings."""
    _add_sessions(commands, flags)
    top = commands.add_parser("database", help="check, copy, restore, migrate or move the database")
    actions = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _action(actions, flags, "check", "is the file whole? The exit code is 1 if not", _check)
    backup = _action(actions, flags, "backup", "copy it into a new file, servers or not", _backup)
    backup.add_argument("file", type=Path)
    restore = actions.add_parser("restore", parents=[flags], help="put a backup in its place")
    restore.add_argument("file", type=Path)
    restore.add_argument("--force", action="store_true", help="stop runs that are under way")
    restore.set_defaults(run=_restore)
    add_json(restore)
    migrate = actions.add_parser("migrate", parents=[flags], help="bring its schema up to date")
    migrate.set_defaults(run=_migrate)
    add_json(migrate)
    move = actions.add_parser("move", parents=[flags], help="copy every session into another one")
    move.add_argument("source", metavar="FROM", help="a file, or postgresql://...")
    move.add_argument("target", metavar="TO", help="likewise; what it holds stays")
    move.set_defaults(run=_move)
    add_json(move)
    schema = "print the JSON schema of an exported session"
    printed = actions.add_parser("schema", help=schema)
    printed.set_defaults(run=_schema)
    add_json(printed)


def _add_sessions(commands: Any, flags: argparse.ArgumentParser) -> None:
    top = commands.add_parser(
        "sessions", help="list, show, report, export, import or delete sessions"
    )
    actions = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listed = _action(actions, flags, "list", "all sessions, the last used first", _list)
    listed.add_argument("--owner", help="only this owner's")
    show = _action(actions, flags, "show", "the report of a session", _show)
    show.add_argument("session_id", nargs="?", help="which one (the last used)")
    add_report_options(_action(actions, flags, "report", "a session as one HTML file", _report))
    export = _action(actions, flags, "export", "a session as one JSON file", _export)
    delete = _action(actions, flags, "delete", "delete a session for good", _delete)
    for one in (export, delete):
        one.add_argument("session_id")
    export.add_argument("file", type=Path, nargs="?", help="a new file (standard output)")
    bring = _action(actions, flags, "import", "store an exported session", _import)
    bring.add_argument("file", type=Path)
    bring.add_argument("--owner", default="local", help="whose it shall be (%(default)s)")
    prune = _action(actions, flags, "prune", "delete what nobody has used for long", _prune)
    days = number(float, 0, 36_500)
    prune.add_argument("--older-than", type=days, required=True, metavar="DAYS")
    prune.add_argument("--owner", help="only this owner's")
    for one in (delete, prune):
        one.add_argument("--yes", action="store_true", help="do it; otherwise only say what")


def _action(
    actions: Any, flags: argparse.ArgumentParser, name: str, text: str, work: Work
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, parents=[flags], help=text)
    parser.set_defaults(run=lambda args: _with_store(args, work))
    add_json(parser)
    return parser


def _settings(args: argparse.Namespace) -> tuple[Settings, Location]:
    """The settings in force, and where the database is."""
    from ..settings.load import default_database
    from .parser import settings_of

    settings, _, _ = settings_of(args)
    return settings, settings.database or default_database()


def _with_store(args: argparse.Namespace, work: Work) -> int:
    from ...engine.store import Store, check_there

    settings, path = _settings(args)
    check_there(path)

    async def run() -> int:
        store = Store(path)
        store.db.quota_bytes = settings.quota_bytes
        await store.open()
        try:
            return await work(store, args)
        finally:
            await store.close()

    return asyncio.run(run())


async def _found(store: Store, session_id: str) -> Session:
    session = await store.maintenance.any_session(session_id)
    if session is None:
        raise NotFound(f"There is no session {session_id!r}.", "See textgrad-mcp sessions list.")
    return session


async def _list(store: Store, args: argparse.Namespace) -> int:
    found = await store.maintenance.every_session(args.owner)
    told(args, _facts(found), _table(found))
    if not found:
        remarked(args, "There are no sessions.")
    return 0


def _facts(sessions: list[Session]) -> list[dict[str, Any]]:
    return [one.model_dump(exclude={"pk"}) for one in sessions]


def _table(sessions: list[Session]) -> str:
    """A line for each session."""
    from ..terminal import Cell, Styles, one_line

    rows: list[list[Cell]] = [
        [
            (one.id, "bold"),
            (one.updated[:16], "dim"),
            one_line(one.owner),
            f"{one.used_calls} calls",
            f"{one.bytes:,} bytes",
            one_line(one.title),
        ]
        for one in sessions
    ]
    return "\n".join(Styles().table(rows)) if rows else ""


async def _show(store: Store, args: argparse.Namespace) -> int:
    from ..terminal import Styles
    from .session_report import facts, words

    session = await _shown(store, args.session_id)
    found = await facts(store, session)
    told(args, found, "" if args.json else words(found, Styles()))
    return 0


async def _shown(store: Store, session_id: str | None) -> Session:
    if session_id is not None:
        return await _found(store, session_id)
    sessions = await store.maintenance.every_session(None)
    if not sessions:
        raise NotFound("There are no sessions.", "An assistant's first create_variable makes one.")
    return sessions[0]


async def _report(store: Store, args: argparse.Namespace) -> int:
    from ..page.commands import report
    from .parser import settings_of

    session = await _shown(store, args.session_id)
    text = await report(store, session, args, settings_of(args)[0])
    await asyncio.to_thread(_write_new, args.file, text)
    facts = {"session_id": session.id, "file": str(args.file), "bytes": len(text.encode())}
    told(args, facts, f"{args.file} holds {session.id}; open it in a browser.")
    return 0


async def _export(store: Store, args: argparse.Namespace) -> int:
    from ..terminal import escaped

    session = await _found(store, args.session_id)
    text = (
        json.dumps(await store.export.export_session(session.pk), ensure_ascii=False, indent=1)
        + "\n"
    )
    if args.file is None:
        sys.stdout.write(escaped(text))
        return 0
    await asyncio.to_thread(_write_new, args.file, text)
    facts = {"session_id": session.id, "file": str(args.file)}
    told(args, facts, f"{session.id} is in {args.file}.")
    return 0


def _write_new(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"{path} cannot be made: {error.strerror}.", "Name a new file.") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


async def _import(store: Store, args: argparse.Namespace) -> int:
    from ...engine.tools.imported import check_meaning
    from ..http.tokens import checked_owner

    document = await asyncio.to_thread(_read, args.file)
    owner = checked_owner(args.owner)
    session_id = await store.export.import_session(owner, document, check_meaning)
    facts = {"session_id": session_id, "owner": args.owner}
    told(args, facts, f"{session_id} is a session of {args.owner} now.")
    return 0


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path} is larger than {MOST_BYTES >> 20} MiB.", "Name another file.")
        return json.loads(path.read_text("utf-8"), parse_constant=no_constant)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", "Check its path.") from None
    except (ValueError, RecursionError) as error:
        what = f"{path} is not valid JSON ({str(error) or 'too deep'}). Nothing was imported."
        raise BadInput(what, "Export the session again.") from None


async def _delete(store: Store, args: argparse.Namespace) -> int:
    session = await _found(store, args.session_id)
    return await _delete_all(store, [session], args)


async def _prune(store: Store, args: argparse.Namespace) -> int:
    found = await store.maintenance.unused_since(args.older_than, args.owner)
    return await _delete_all(store, found, args)


async def _delete_all(store: Store, sessions: list[Session], args: argparse.Namespace) -> int:
    deleted = (
        await store.maintenance.delete_sessions([one.pk for one in sessions]) if args.yes else 0
    )
    told(args, {"deleted": deleted, "sessions": _facts(sessions)}, _table(sessions))
    would = f"{len(sessions)} would be deleted, for good: say --yes."
    remarked(args, f"{deleted} deleted." if args.yes else would)
    return 0


async def _check(store: Store, args: argparse.Namespace) -> int:
    problems = await store.maintenance.check()
    facts = {"database": str(store.db.path), "whole": not problems, "problems": problems}
    told(args, facts, "\n".join(problems) or f"{store.db.path} is whole.")
    return 1 if problems else 0


async def _backup(store: Store, args: argparse.Namespace) -> int:
    await store.maintenance.backup(args.file)
    facts = {"database": str(store.db.path), "copy": str(args.file)}
    told(args, facts, f"{store.db.path} was copied to {args.file}.")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from ...engine.store.restore import restore

    _, path = _settings(args)
    if not isinstance(path, Path):
        raise BadInput(
            f"{path} is not a file; a server restores its own backups.",
            "Use pg_restore, or the server's point-in-time recovery.",
        )
    done = restore(path, args.file, force=args.force)
    facts = {
        "database": str(path),
        "backup": str(args.file),
        "sessions": done.sessions,
        "kept": str(done.kept) if done.kept else None,
        "stopped": done.stopped,
    }
    words = [f"{path} holds what was in {args.file} (sessions: {done.sessions})."]
    if done.kept:
        words.append(f"What it held before is in {done.kept}.")
    if done.stopped:
        words.append(f"Runs were stopped where they were in {', '.join(done.stopped)}.")
    told(args, facts, " ".join(words))
    remarked(args, "Servers that use it go on with it at their next call.")
    return 0


def _migrate(args: argparse.Namespace) -> int:
    from ...engine.store import migrate

    _, path = _settings(args)
    before, now = migrate(path)
    facts = {"database": str(path), "before": before, "schema": now}
    done = f"has schema {now}" + (f", before {before}" if before not in (0, now) else "")
    told(args, facts, f"{path} {done}.")
    return 0


def _move(args: argparse.Namespace) -> int:
    from ...engine.store.move import move
    from ...engine.tools.imported import check_meaning

    source, target = (_place(args, given) for given in (args.source, args.target))
    done = asyncio.run(move(source, target, check_meaning))
    facts = {"from": str(source), "to": str(target), "sessions": done.moved, "there": done.there}
    words = f"{done.moved} sessions of {source} are in {target}."
    if done.there:
        words += f" {done.there} were there already, and were left as they are."
    told(args, facts, words)
    remarked(args, "What they were copied from is as it was.")
    return 0


def _place(args: argparse.Namespace, given: str) -> Location:
    """What FROM or TO names, with the password that is set for servers."""
    setattr(args, f"{SET}database", given)
    return _settings(args)[1]


def _schema(_: argparse.Namespace) -> int:
    from ...engine.store.export_format import file_schema

    sys.stdout.write(json.dumps(file_schema(), indent=2) + "\n")
    return 0
