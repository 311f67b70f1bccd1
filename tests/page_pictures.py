"""The pictures in docs/page.md, taken of the real server's pages: python -m tests.page_pictures"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.page.viewer import opened as opened_viewer

from .helpers import assisted
from .npm import CLIENTS, MODULES, run
from .page_browser import chromium, opened
from .page_session import database_of
from .server.page.test_page_app import chat

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
SHOTS: dict[str, tuple[int, str, str]] = {
    "overview": (1000, "light", ""),
    "dark": (1000, "dark", "tab=texts"),
    "refused-step": (1000, "light", "tab=steps&step=s3"),
    "got-worse": (1000, "dark", "tab=examples&a=1&b=2&filter=worse&example=e29"),
}
"""File -> width, theme, place."""


async def browser_pictures(path: Path, session: str) -> None:
    """Those of the viewer."""
    viewer = await opened_viewer(Settings(), path)
    try:
        async with chromium() as browser:
            for name, (width, theme, place) in SHOTS.items():
                url = f"{viewer.address(session)}&{place}"
                async with opened(browser, url, width=width, theme=theme) as found:
                    await found.page.locator("#panel h2").first.wait_for()
                    await found.settled()
                    await found.page.screenshot(path=str(FOLDER / f"{name}.png"), full_page=True)
    finally:
        await viewer.close()


async def chat_picture(path: Path, session: str, host: str) -> None:
    """That of a chat, within a host."""
    async with chat(assisted(path), session, host) as found:
        await found.mount(width=380)
        await found.shown()
        await found.watched.page.set_viewport_size({"width": 420, "height": 2200})
        frame: Any = found.watched.page.locator("iframe")
        await frame.screenshot(path=str(FOLDER / "chat.png"))


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path, session = database_of(Path(folder))
        script = Path(folder) / "host.js"
        given = [str(CLIENTS / "host" / "host.js"), "--bundle", f"--outfile={script}"]
        done = run(MODULES / "esbuild" / "bin" / "esbuild", given, home=Path(folder))
        assert done.returncode == 0, done.stderr
        asyncio.run(browser_pictures(path, session))
        asyncio.run(chat_picture(path, session, script.read_text("utf-8")))


if __name__ == "__main__":
    main()
