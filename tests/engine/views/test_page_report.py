"""The page as a file, opened from disk in a real Chromium: every tab, and words that would run."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.server.cli.main import main as command

from ...helpers import Tools, assisted, drive
from ...page_browser import TABS, Watched, chromium, needs_chromium, opened
from ...page_session import database_of, hostile

pytestmark = needs_chromium


def report(path: Path, file: Path, *options: str) -> Path:
    """The last used session as a file."""
    done = command(["sessions", "report", str(file), "--database", str(path), *options])
    assert done == 0
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A database with an optimised session, its report, and the session's id."""
    folder = tmp_path_factory.mktemp("report")
    path, session_id = database_of(folder)
    return path, report(path, folder / "r.html"), session_id


async def unharmed(watched: Watched) -> None:
    """Nothing ran, nothing came from elsewhere, no element of theirs is there."""
    page = watched.page
    assert await page.locator("img, iframe, object, embed, link, script[src]").count() == 0
    assert await page.locator("script:not(#island)").count() == 1
    assert await page.locator("svg[onload]").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab_is_drawn_from_the_file_alone(made: tuple[Path, Path, str], theme: str) -> None:
    async def main() -> None:
        async with chromium() as browser, opened(browser, made[1].as_uri(), theme=theme) as found:
            assert "held-out examples" in await found.words()
            for tab in TABS:
                await found.tab(tab)
                await found.page.locator("#panel h2").first.wait_for()
                await unharmed(found)
            assert found.errors == []
            assert found.requests == [made[1].as_uri()]

    asyncio.run(main())


def test_a_refused_step_and_an_example_that_got_worse_can_be_linked(
    made: tuple[Path, Path, str],
) -> None:
    async def main() -> None:
        async with chromium() as browser:
            async with opened(browser, f"{made[1].as_uri()}#tab=steps&step=s3") as found:
                words = await found.words()
                assert "refused: no gain beyond noise" in words
                assert "parrot -> FIN" in words
                assert await found.page.locator("ins", has_text="parrot").count() == 1
            async with opened(browser, f"{made[1].as_uri()}#tab=examples&filter=better") as found:
                row = found.page.locator("button.row").first
                await row.click()
                await found.page.get_by_text("got better").wait_for()
                assert "example=e" in found.page.url

    asyncio.run(main())


def test_arrow_keys_walk_the_steps_and_the_tabs(made: tuple[Path, Path, str]) -> None:
    async def main() -> None:
        async with chromium() as browser, opened(browser, made[1].as_uri()) as found:
            page = found.page
            await page.get_by_role("slider").focus()
            await page.keyboard.press("Home")
            await page.get_by_role("heading", name="Step 1").wait_for()
            await page.keyboard.press("ArrowRight")
            await page.get_by_role("heading", name="Step 2").wait_for()
            assert "step 2, accepted" in await page.get_by_role("slider").get_attribute(
                "aria-valuetext"
            )
            await page.get_by_role("tab", name="overview").focus()
            await page.keyboard.press("ArrowRight")
            await page.get_by_role("heading", name="Steps", exact=True).wait_for()
            await page.locator("button.row").first.focus()
            await page.keyboard.press("j")
            await page.get_by_role("heading", name=re.compile("Step")).first.wait_for()

    asyncio.run(main())


@pytest.mark.requirement("page-is-text")
@pytest.mark.parametrize("policy", [True, False], ids=["with its policy", "without"])
def test_words_that_would_run_are_shown_as_words(tmp_path: Path, policy: bool) -> None:
    path = tmp_path / "t.db"

    async def make(call: Tools) -> None:
        await hostile(call)

    drive(make, assisted(path))
    file = report(path, tmp_path / "r.html", "--with-test", "--full")

    async def main() -> None:
        async with (
            chromium() as browser,
            opened(browser, file.as_uri(), bypass_csp=not policy) as found,
        ):
            shown = 0
            for tab in TABS:
                await found.tab(tab)
                for closed in await found.page.locator("details:not([open]) > summary").all():
                    await closed.click()
                await unharmed(found)
                shown += (await found.words()).count("</script><script>window.pwned=1")
            await found.tab("examples")
            await found.page.locator("button.row").first.click()
            await found.page.get_by_role("heading", name="Example").wait_for()
            shown += (await found.words()).count("<img src=x onerror")
            assert shown > 20
            assert "contains invisible characters" in await found.words()
            assert await found.page.evaluate("() => window.pwned") is None
            assert found.requests == [file.as_uri()]
            assert found.errors == []

    asyncio.run(main())


def test_what_is_left_out_is_not_in_the_file(made: tuple[Path, Path, str], tmp_path: Path) -> None:
    path, plain, session_id = made
    assert session_id not in plain.read_text(encoding="utf-8")
    assert session_id in report(path, tmp_path / "id.html", "--with-id").read_text("utf-8")
    redacted = report(path, tmp_path / "redacted.html", "--redact").read_text("utf-8")
    assert "password -> SEC" in redacted
    assert "I forgot my password" not in redacted
    assert "I forgot my password" in plain.read_text("utf-8")
    test_row = "last changed in July. (#1006)"
    assert test_row not in plain.read_text("utf-8")
    assert test_row in report(path, tmp_path / "test.html", "--with-test").read_text("utf-8")
    assert plain.stat().st_mode & 0o777 == 0o600
    assert command(["sessions", "report", str(plain), "--database", str(path)]) == 2


def test_all_of_it_is_printed(made: tuple[Path, Path, str], tmp_path: Path) -> None:
    async def main() -> None:
        async with chromium() as browser, opened(browser, made[1].as_uri()) as found:
            await found.page.emulate_media(media="print")
            await found.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
            for heading in ("Score over steps", "Steps", "Texts", "Before and after", "Calls"):
                await found.page.get_by_role("heading", name=heading, exact=True).wait_for()
            pdf: bytes = await found.page.pdf(path=str(tmp_path / "r.pdf"))
            assert pdf.startswith(b"%PDF")

    asyncio.run(main())


def large(rows: int = 100_000, steps: int = 10_000) -> dict[str, Any]:
    """The island of a session with very much in it."""
    every = list(range(1, steps + 1))
    accepted = [int(n % 40 == 0) for n in every]
    score = [min(0.95, 0.2 + (n // 40) * 0.0029) for n in every]
    after = [
        s if a else max(0.0, s - 0.07 * (n % 5))
        for n, s, a in zip(every, score, accepted, strict=True)
    ]
    side = {"error": 0.05, "examples": 500, "versions": {"v1": 1}}
    change = {
        **{"loss": "v5", "split": "validation", "evaluations": 2, "texts": 2, "gain": 0.7},
        **{
            "first": {"mean": 0.2, **side},
            "latest": {"mean": 0.9, **side},
            "error": 0.02,
        },
        **{"paired": True, "better": rows // 2, "worse": rows // 10, "same": rows - rows * 6 // 10},
    }
    a, b = {"v1": 1}, {"v1": 10_000}
    summary = {
        "revision": "1",
        **{"title": "large", "created": "2026-01-01", "updated": "2026-01-02T00:00:00Z"},
        **{
            "headline": "Much was tried.",
            "scores": [change],
            "steps": steps,
            "accepted": sum(accepted),
        },
        **{
            "proposals": {"accepted": sum(accepted)},
            "test_reads": 0,
            "budget": {},
            "held_out": False,
        },
        "funnel": {"proposed": 3 * steps, "usable": 2 * steps, "compared": steps, "accepted": 250},
        "examples": {"validation": rows},
        "parameters": [
            {
                "id": "v1",
                "role": "r",
                "name": "",
                "kind": "parameter",
                "version": 10_000,
                "file": None,
            }
        ],
        "price": {"calls": 10**6, "tokens": 10**9, "cost": 12.5, "by_purpose": {}},
        "steps_taken": {
            **{"n": every, "accepted": accepted, "before": score, "after": after},
            **{"gain": [0.01] * steps, "error": [0.02] * steps, "p": [0.5] * steps},
            **{"examples": [500] * steps, "split": ["validation"] * steps},
        },
        "readings": [],
        "states": [{"label": "start", "versions": a}, {"label": "s9999", "versions": b}],
        "losses": [
            {"id": "v5", "kind": "metric", "name": "m", "per_example": True, "graded": True}
        ],
        **{"references": [], "run": None},
    }

    def side_of(n: int) -> dict[str, Any]:
        return {"output": f"output {n}", "score": n % 2, "missing": ""}

    table = [
        {"id": f"e{n}", "fields": {"q": f"question {n}"}, "a": side_of(n), "b": side_of(n // 2)}
        for n in range(1, rows + 1)
    ]
    counts = {"all": rows, "better": 1, "worse": 1, "same": rows - 2}
    asked = {"loss": "v5", "split": "validation", "a": a, "b": b}
    return {
        "answers": [
            ["summary", {}, summary],
            ["versions", {}, {"v1": {"step": every, "chars": every, "origin": {}}}],
            ["graph", {}, {"nodes": [], "edges": [], "truncated": False}],
        ],
        "rows": [{**asked, "counts": counts, "counted": True, "total": rows, "rows": table}],
        "about": [],
    }


def test_ten_thousand_steps_and_a_hundred_thousand_rows_draw_few_nodes(tmp_path: Path) -> None:
    from textgrad_mcp.server.page import bundle

    file = tmp_path / "large.html"
    file.write_text(bundle.html("file", "large", json.loads(json.dumps(large()))), "utf-8")

    async def main() -> None:
        async with chromium() as browser, opened(browser, file.as_uri()) as found:
            for tab in TABS[:4]:
                await found.tab(tab)
                nodes = await found.page.locator("*").count()
                assert nodes < 5_000, f"{tab}: {nodes}"
            box = found.page.locator(".box")
            await box.evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
            await found.page.get_by_text("question 50001").wait_for()
            assert found.errors == []

    asyncio.run(main())
