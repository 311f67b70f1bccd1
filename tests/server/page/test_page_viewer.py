"""The viewer: who is let in, what is refused, and another process's run watched live."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.page.viewer import Viewer
from textgrad_mcp.server.page.viewer import opened as opened_viewer

from ...helpers import assisted, process, tools
from ...page_browser import chromium, needs_chromium, opened
from ...page_session import database_of, program, reply


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with an optimised session, and the session's id."""
    return database_of(tmp_path_factory.mktemp("viewer"), steps=2)


@asynccontextmanager
async def viewing(path: Path, *, held_out: bool = False) -> AsyncIterator[Viewer]:
    """A viewer of a database."""
    viewer = await opened_viewer(Settings(), path, held_out=held_out)
    try:
        yield viewer
    finally:
        await viewer.close()


Answer = tuple[int, dict[str, str], str]


async def asked(viewer: Viewer, path: str, method: str = "GET", **headers: str) -> Answer:
    """A raw request; `host` and the others as they are given."""

    def ask() -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        text = answer.read().decode()
        connection.close()
        return answer.status, found, text

    return await asyncio.to_thread(ask)


async def entered(viewer: Viewer) -> dict[str, str]:
    """The headers of somebody who came in by the key."""
    _, headers, _ = await asked(viewer, urlsplit(viewer.address()).path)
    return {"cookie": headers["set-cookie"].split(";")[0]}


@pytest.mark.requirement("viewer-locked")
def test_only_the_key_lets_in_and_it_stays_in_no_address(made: tuple[Path, str]) -> None:
    async def main() -> None:
        async with viewing(made[0]) as viewer:
            status, headers, text = await asked(viewer, urlsplit(viewer.address()).path)
            assert status == 200
            assert viewer.key not in text
            assert "httponly" in headers["set-cookie"].lower()
            assert "samesite=strict" in headers["set-cookie"].lower()
            cookie = await entered(viewer)
            status, headers, text = await asked(viewer, "/", **cookie)
            assert status == 200
            assert viewer.key not in text
            assert "script-src 'sha256-" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in headers
            for path in ("/", "/api/sessions", "/enter/", "/enter/wrong", "/enter/x/../y"):
                assert (await asked(viewer, path, x_textgrad_page="1"))[0] == 401, path
            other = cookie["cookie"][:-2] + "xx"
            assert (await asked(viewer, "/", cookie=other))[0] == 401

    asyncio.run(main())


@pytest.mark.requirement("viewer-locked")
@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {"host": "evil.example"}, 421),
        ("/", "GET", {"host": "127.0.0.1"}, 421),
        ("/enter/x", "GET", {"host": "evil.example"}, 421),
        ("/", "GET", {"origin": "https://evil.example"}, 403),
        ("/", "GET", {"origin": "null"}, 403),
        ("/", "GET", {"sec_fetch_site": "cross-site"}, 403),
        ("/api/sessions", "GET", {"sec_fetch_site": "same-site", "x_textgrad_page": "1"}, 403),
        ("/api/sessions", "GET", {}, 401),
        ("/api/sessions", "POST", {"x_textgrad_page": "1"}, 405),
        ("/api/sessions", "DELETE", {"x_textgrad_page": "1"}, 405),
        ("/", "PUT", {}, 405),
        ("/elsewhere", "GET", {}, 404),
        ("/api/sessions?args=[", "GET", {"x_textgrad_page": "1"}, 400),
        ("/api/sessions?args=7", "GET", {"x_textgrad_page": "1"}, 400),
        ('/api/sessions?args={"offset":"x"}', "GET", {"x_textgrad_page": "1"}, 400),
        ("/api/summary?session=tg_none", "GET", {"x_textgrad_page": "1"}, 404),
        ("/api/compare", "GET", {"x_textgrad_page": "1"}, 400),
    ],
)
def test_what_no_page_of_ours_sends_is_turned_away(
    made: tuple[Path, str], path: str, method: str, headers: dict[str, str], status: int
) -> None:
    async def main() -> None:
        async with viewing(made[0]) as viewer:
            given = await entered(viewer) | headers
            found, answered, text = await asked(viewer, path.replace("{", "%7B"), method, **given)
            assert found == status, text
            assert json.loads(text)["error"]
            assert answered["x-content-type-options"] == "nosniff"
            assert viewer.key not in text

    asyncio.run(main())


@pytest.mark.requirement("viewer-locked")
def test_the_viewer_listens_on_loopback_and_never_writes(made: tuple[Path, str]) -> None:
    async def main() -> None:
        before = made[0].read_bytes()
        async with viewing(made[0]) as viewer, viewing(made[0]) as second:
            assert viewer.port != second.port
            assert viewer.key != second.key
            cookie = await entered(viewer)
            page = {"x_textgrad_page": "1"} | cookie
            for view in ("sessions", f"summary?session={made[1]}", f"graph?session={made[1]}"):
                assert (await asked(viewer, f"/api/{view}", **page))[0] == 200
            assert (await asked(second, "/", **cookie))[0] == 401
            with pytest.raises(BadInput, match="cannot be listened on"):
                await opened_viewer(Settings(), made[0], port=viewer.port)
        assert made[0].read_bytes() == before

    asyncio.run(main())


def test_a_client_on_stdio_that_draws_no_pages_gets_an_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with tools(assisted(tmp_path / "t.db")) as call:
            s = await program(call)
            shown = await call("show", session_id=s)
            parts = urlsplit(shown["address"])
            assert (parts.hostname, parts.fragment) == ("127.0.0.1", f"session={s}")
            again = await call("show", session_id=s)
            assert again["address"] == shown["address"]
            assert "no session" in await call.refused("show", session_id="tg_none")

    asyncio.run(main())


def _browser(test: Any) -> Any:
    """The marks of a test that needs a browser, in a module of which not all do."""
    for mark in needs_chromium:
        test = mark(test)
    return test


@_browser
def test_a_run_in_another_process_is_watched_live(tmp_path: Path) -> None:
    async def main() -> None:
        settings = assisted(tmp_path / "t.db")
        async with process(settings) as call:
            s = await program(call)
            async with (
                viewing(tmp_path / "t.db") as viewer,
                chromium() as browser,
                opened(browser, viewer.address(s)) as found,
            ):
                assert viewer.key not in found.page.url
                assert "Running" not in await found.words()
                result = await call(
                    "optimize", session_id=s, strategy="gradient", steps=3, batch_size=25
                )
                await found.page.get_by_text("Waiting for answers: optimize").wait_for()
                seen = set()
                while result["status"] == "needs_completions":
                    given = {p["id"]: reply(p) for p in result["pending"]}
                    result = await call("resume", session_id=s, completions=given)
                    seen.add(result["status"])
                await found.page.get_by_text("2 of 3 accepted").wait_for()
                assert await found.page.locator(".live").count() == 0
                assert found.errors == []

    asyncio.run(main())


@_browser
def test_sessions_are_listed_opened_and_compared(tmp_path: Path) -> None:
    path, first = database_of(tmp_path, steps=1)
    database_of(tmp_path, steps=2)

    async def main() -> None:
        async with (
            viewing(path) as viewer,
            chromium() as browser,
            opened(browser, viewer.address()) as found,
        ):
            page = found.page
            await page.get_by_role("heading", name="2 sessions").wait_for()
            for box in await page.get_by_role("checkbox").all():
                await box.check()
            await page.get_by_role("button", name="Compare 2").click()
            await page.get_by_text("The test examples are the same.").wait_for()
            await page.get_by_text("test, on the 36 that all have").wait_for()
            assert await page.locator("ins, del").count() > 0
            await page.get_by_role("button", name="All sessions").click()
            await page.locator(".sessions button").last.click()
            await page.get_by_role("heading", name="Score over steps").wait_for()
            assert first in page.url
            assert found.errors == []

    asyncio.run(main())
