"""A real Chromium for the page's tests, and what every one of them watches: errors and requests.

Tests are skipped where there is no Chromium, or playwright, unless PAGE_REQUIRED is set.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = bool(os.environ.get("PAGE_REQUIRED"))
THERE = CHROMIUM is not None and importlib.util.find_spec("playwright") is not None
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TABS = ("overview", "steps", "texts", "examples", "cost")

needs_chromium = [
    pytest.mark.slow,
    pytest.mark.page,
    pytest.mark.skipif(
        not THERE and not REQUIRED, reason="there is no Chromium, or no playwright: make test-page"
    ),
]
"""Marks of a test module that needs a browser."""


@dataclass
class Watched:
    """A page, with what it complained of and what it asked for."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def tab(self, name: str) -> None:
        """Go to a tab, by its button."""
        await self.page.get_by_role("tab", name=name).click()
        await self.page.locator("#panel").wait_for()
        await self.settled()

    async def settled(self) -> None:
        """Wait until nothing says that it is being read."""
        await self.page.locator(".busy").first.wait_for(state="detached")

    async def words(self) -> str:
        """All that can be read."""
        return str(await self.page.locator("body").inner_text())


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """A browser."""
    from playwright.async_api import async_playwright

    assert CHROMIUM, "PAGE_REQUIRED is set and there is no chromium"
    async with async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(browser: Any, url: str | None = None, **options: Any) -> AsyncIterator[Watched]:
    """A page in a context of its own, at `url`; `width`, `theme` and Playwright's own options."""
    width, theme = options.pop("width", 1100), options.pop("theme", "light")
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, **options
    )
    watched = Watched(await context.new_page())
    watched.page.on(
        "console",
        lambda m: watched.errors.append(m.text) if m.type in ("error", "warning") else None,
    )
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    try:
        if url is not None:
            await watched.page.goto(url)
            await watched.settled()
        yield watched
    finally:
        await context.close()
