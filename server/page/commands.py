"""`textgrad-mcp view` and `sessions report`: the page in a browser, and as a file."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...schemas.errors import NotFound

if TYPE_CHECKING:
    from ...engine.store import Store
    from ...schemas.graph import Session
    from ...schemas.settings import Settings

SettingsOf = Callable[[argparse.Namespace], "Settings"]


def add_view(commands: Any, flags: argparse.ArgumentParser, settings_of: SettingsOf) -> None:
    """Add `view` to the command line; `flags` are those of the settings."""
    view = commands.add_parser("view", parents=[flags], help="look at sessions in a browser")
    view.add_argument("session_id", nargs="?", help="which one (all)")
    view.add_argument("--port", type=int, default=0, help="port on loopback (any free one)")
    view.add_argument("--no-open", action="store_true", help="only print the address")
    _add_with_test(view)
    view.set_defaults(run=lambda args: _view(args, settings_of(args)))


def add_report_options(report: argparse.ArgumentParser) -> None:
    """Add what `sessions report` takes."""
    report.add_argument("session_id", nargs="?", help="which one (the last used)")
    report.add_argument("file", type=Path, metavar="FILE.html", help="a new file")
    report.add_argument("--full", action="store_true", help="everything, however large")
    report.add_argument("--redact", action="store_true", help="without inputs and outputs")
    report.add_argument("--with-id", action="store_true", help="with the session's id")
    _add_with_test(report)


def _add_with_test(parser: argparse.ArgumentParser) -> None:
    words = "show the test split's rows; whoever reads them has no held-out figure any more"
    parser.add_argument("--with-test", action="store_true", help=words)


def _view(args: argparse.Namespace, settings: Settings) -> int:
    from ...engine.store import check_there
    from ..settings.load import default_database
    from .viewer import opened

    path = settings.database or default_database()
    check_there(path)

    async def run() -> None:
        viewer = await opened(settings, path, held_out=args.with_test, port=args.port)
        try:
            if (
                args.session_id
                and await viewer.store.maintenance.any_session(args.session_id) is None
            ):
                words = f"There is no session {args.session_id!r}."
                raise NotFound(words, "See textgrad-mcp sessions list.")
            address = viewer.address(args.session_id)
            print(address, flush=True)
            print("Only this machine can open it; Ctrl-C ends it.", file=sys.stderr)
            if not args.no_open:
                await asyncio.to_thread(_open, address)
            await viewer.ended()
        finally:
            await viewer.close()

    asyncio.run(run())
    return 0


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)


async def report(
    store: Store, session: Session, args: argparse.Namespace, settings: Settings
) -> str:
    """The page of a session, as `sessions report` was asked for it."""
    return await page_of(
        store,
        session,
        settings,
        held_out=args.with_test,
        full=args.full,
        redact=args.redact,
        with_id=args.with_id,
    )


async def page_of(
    store: Store,
    session: Session,
    settings: Settings,
    *,
    held_out: bool = False,
    full: bool = False,
    redact: bool = False,
    with_id: bool = False,
) -> str:
    """The page of a session as one HTML text that needs nothing else.

    `held_out`: with rows of the test split; `full`: whatever its size; `redact`: without inputs
    and outputs; `with_id`: with the session's id.
    """
    from ...engine.views.page import Page
    from ...engine.views.replay import Reader
    from ...engine.views.whole import Gathering
    from ...engine.workers.pool import Workers
    from . import bundle

    workers = Workers()
    try:
        page = Page(Reader(store, settings, workers), held_out=held_out)
        whole = await Gathering(page, session, full=full, redact=redact).gather()
    finally:
        await workers.close()
    island = whole.as_json(session, with_id=with_id)
    return bundle.html("file", session.title or "textgrad session", island)
