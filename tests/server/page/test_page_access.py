"""The page for everyone: WCAG 2.2 AA by axe on every tab, light and dark, wide and narrow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textgrad_mcp.server.cli.main import main as command

from ...npm import INSTALLED, MODULES
from ...npm import REQUIRED as CLIENTS_REQUIRED
from ...page_browser import TABS, chromium, needs_chromium, opened
from ...page_session import database_of

pytestmark = [
    *needs_chromium,
    pytest.mark.skipif(
        not INSTALLED and not CLIENTS_REQUIRED, reason="axe comes from npm: `make clients`"
    ),
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of an optimised session."""
    folder = tmp_path_factory.mktemp("access")
    path, _ = database_of(folder)
    assert command(["sessions", "report", str(folder / "r.html"), "--database", str(path)]) == 0
    return folder / "r.html"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_axe_finds_nothing_on_any_tab(file: Path, theme: str, width: int) -> None:
    async def main() -> None:
        options = {"theme": theme, "width": width, "bypass_csp": True}
        async with chromium() as browser, opened(browser, file.as_uri(), **options) as found:
            await found.page.add_script_tag(path=str(MODULES / "axe-core" / "axe.min.js"))
            for tab in TABS:
                await found.tab(tab)
                if tab == "examples":
                    await found.page.locator("button.row").first.click()
                    await found.page.get_by_role("heading", name="Example").wait_for()
                result = await found.page.evaluate(
                    "rules => axe.run(document, { runOnly: { type: 'tag', values: rules } })", RULES
                )
                wrong = [
                    f"{tab}: {one['id']}: {node['html'][:160]} {node['failureSummary']}"
                    for one in result["violations"]
                    for node in one["nodes"]
                ]
                assert wrong == []
                wide = await found.page.evaluate("() => document.documentElement.scrollWidth")
                assert wide <= width, tab

    asyncio.run(main())


def test_no_text_is_smaller_than_can_be_read(file: Path) -> None:
    async def main() -> None:
        async with chromium() as browser, opened(browser, file.as_uri()) as found:
            for tab in TABS:
                await found.tab(tab)
                sizes = await found.page.evaluate(
                    "() => [...document.querySelectorAll('body *')].filter((e) => e.innerText)"
                    ".map((e) => parseFloat(getComputedStyle(e).fontSize))"
                )
                assert min(sizes) >= 12.5, tab

    asyncio.run(main())
