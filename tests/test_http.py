"""HTTP for many users: nobody comes in uninvited, and a second user learns nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.addresses import networks
from textgrad_mcp.server.auth import FileTokens, digest_of, new_token, read_tokens, revoke
from textgrad_mcp.server.http import HttpOptions, verifier
from textgrad_mcp.server.limits import Buckets

from .helpers import assisted
from .users import as_user, served, user


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


@pytest.mark.requirement("tokens")
def test_without_a_good_token_nobody_comes_in(tmp_path: Path, tokens: Path) -> None:
    good = new_token(tokens, "alice")
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        httpx2.Client(base_url=url) as http,
    ):
        assert http.get("/healthz").text == "ok\n"
        assert http.get("/readyz").text == "ready\n"
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": good}):
            assert http.post("/mcp", json={}, headers=headers).status_code == 401
        known = {"Authorization": f"Bearer {good}"}
        assert http.post("/mcp", json={}, headers=known).status_code != 401


@pytest.mark.requirement("origins")
def test_pages_of_other_origins_and_hosts_are_turned_away(tmp_path: Path) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, _), httpx2.Client(base_url=url) as http:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert http.post("/mcp", json={}, headers=headers).status_code in (403, 421)


@pytest.mark.requirement("origins")
@pytest.mark.parametrize(
    "name",
    ["127.0.0.1.evil.example", "localhost:80.evil.example", "localhost:", "[::1", "a b", "[::1]x"],
)
def test_a_name_that_only_begins_like_a_known_one_is_turned_away(tmp_path: Path, name: str) -> None:
    settings = assisted(tmp_path / "t.db")
    with served(settings) as (url, _), httpx2.Client(base_url=url) as http:
        for headers in ({"Host": name}, {"Origin": f"http://{name}"}):
            assert http.post("/mcp", json={}, headers=headers).status_code in (400, 403, 421)
        for known in ("localhost", "127.0.0.1:1", "[::1]", "localhost:8000"):
            for headers in ({"Host": known}, {"Origin": f"http://{known}"}):
                assert http.post("/mcp", json={}, headers=headers).status_code not in (403, 421)


@pytest.mark.requirement("limits")
def test_a_body_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, _), httpx2.Client(base_url=url) as http:
        assert http.post("/mcp", content=b" " * (9 << 20)).status_code == 413
        assert http.post("/mcp", content=b" " * (7 << 20)).status_code != 413


@pytest.mark.requirement("ends")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(tmp_path: Path, sent: signal.Signals) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, process):
        assert httpx2.get(f"{url}/readyz").text == "ready\n"
        os.kill(process.pid, sent)
        assert process.wait(timeout=20) in (0, -sent)


@pytest.mark.requirement("loopback")
def test_other_addresses_than_loopback_need_authentication(tokens: Path) -> None:
    with pytest.raises(BadInput, match="nothing would stop anybody"):
        verifier(HttpOptions(host="0.0.0.0"))
    new_token(tokens, "alice")
    assert verifier(HttpOptions(host="0.0.0.0", tokens=tokens)) is not None
    assert verifier(HttpOptions(host="127.0.0.1")) is None


@pytest.mark.requirement("tokens")
def test_a_token_is_kept_as_a_hash_and_can_be_revoked(tokens: Path) -> None:
    token = new_token(tokens, "alice")
    assert token not in tokens.read_text()
    assert digest_of(token) in read_tokens(tokens)
    assert tokens.stat().st_mode & 0o777 == 0o600
    check = FileTokens(tokens)
    assert asyncio.run(check.verify_token(token)) is not None
    assert revoke(tokens, "alice") == 1
    assert asyncio.run(check.verify_token(token)) is None


EDITS = """
import sys
from pathlib import Path
from textgrad_mcp.server.auth import new_token, read_tokens, revoke
path, n = Path(sys.argv[1]), sys.argv[2]
for _ in range(5):
    print(new_token(path, f"kept-{n}"))
    new_token(path, f"gone-{n}")
    assert revoke(path, f"gone-{n}") == 1
    read_tokens(path)
"""


@pytest.mark.requirement("tokens")
def test_no_edit_of_a_token_file_undoes_another(tmp_path: Path, tokens: Path) -> None:
    """Whoever edits: several processes, through a link; what else stands in the file stays."""
    tokens.write_text("# staging\n\n# until spring")
    tokens.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(tokens)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    editing = [
        subprocess.Popen([sys.executable, "-c", EDITS, str(where), str(n)], **pipes)
        for n, where in enumerate((tokens, link) * 2)
    ]
    made = [token for one in editing for token in one.communicate(timeout=60)[0].split()]
    assert [one.returncode for one in editing] == [0] * 4
    lines = read_tokens(tokens)
    assert len(made) == 20
    assert lines.keys() == {digest_of(token) for token in made}
    assert tokens.read_text().startswith("# staging\n\n# until spring\n")
    assert tokens.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"tokens.txt", "link", ".tokens.txt.lock"}


@pytest.mark.requirement("tokens")
def test_a_token_file_is_replaced_whole(tokens: Path) -> None:
    """Whoever had it open before goes on reading what it was, and never a part of the new one."""
    new_token(tokens, "alice")
    before = tokens.read_text()
    with tokens.open() as opened:
        new_token(tokens, "bob")
        assert opened.read() == before
    assert tokens.read_text().startswith(before)


@pytest.mark.requirement("tokens")
@pytest.mark.parametrize("expiry", ["²", "9" * 5000, "-1", "soon", "1e9"])
def test_a_line_with_no_time_of_expiry_is_refused_in_words(tokens: Path, expiry: str) -> None:
    tokens.write_text(f"{'a' * 64} alice {expiry}\n")
    with pytest.raises(BadInput, match="line 1 is no token line"):
        read_tokens(tokens)


@pytest.mark.requirement("tokens")
def test_an_expired_token_is_none(tokens: Path) -> None:
    token = new_token(tokens, "alice", days=-1)
    assert asyncio.run(FileTokens(tokens).verify_token(token)) is None


@pytest.mark.requirement("rates")
def test_who_asks_too_often_reads_how_long_to_wait(tmp_path: Path, tokens: Path) -> None:
    async def hurry(client: Client) -> str:
        for _ in range(5):
            try:
                await client.call_tool("inspect", {})
            except MCPError as refused:
                return refused.message
        return "never refused"

    alice = new_token(tokens, "alice")
    with served(assisted(tmp_path / "t.db"), tokens, burst=3, per_minute=1) as (url, _):
        said = as_user(url, alice, hurry)
    assert said.startswith("Too many requests; come back in ")


def let_in(url: str, forwarded: list[str]) -> int:
    """How many of these calls, each with such a header, were not sent away for being too many."""
    with httpx2.Client(base_url=url) as http:
        answers = [http.post("/mcp", json={}, headers={"X-Forwarded-For": f}) for f in forwarded]
    return sum(answer.status_code != 429 for answer in answers)


@pytest.mark.requirement("strangers")
def test_an_invented_address_is_no_new_caller(tmp_path: Path) -> None:
    invented = [f"10.1.2.{n}" for n in range(30)]
    with served(assisted(tmp_path / "t.db"), burst=3, per_minute=1) as (url, _):
        assert let_in(url, invented) == 3
    with served(assisted(tmp_path / "t.db"), burst=3, per_minute=1, proxies=["127.0.0.1"]) as (
        url,
        _,
    ):
        assert let_in(url, invented) == 30
        assert let_in(url, [f"6.6.6.{n}, 10.7.7.7" for n in range(30)]) == 3
        assert let_in(url, [f"2001:db8:0:1::{n}" for n in range(30)]) == 3
        assert let_in(url, ["nonsense", "", "%1m", "1.2.3"] * 5) <= 6


@pytest.mark.requirement("strangers")
@pytest.mark.parametrize("given", ["0.0.0.0/0", "::/0", "proxy.example", "", "*", "10.0.0.0/99"])
def test_a_proxy_is_an_address_and_not_everybody(given: str) -> None:
    with pytest.raises(BadInput):
        networks([given])


@pytest.mark.requirement("rates")
def test_nobody_has_more_under_way_than_is_fair(tmp_path: Path, tokens: Path) -> None:
    async def listen(client: Client, until: asyncio.Event) -> None:
        async with client.listen(resources_list_changed=True):
            until.set()
            await asyncio.Event().wait()

    async def main() -> tuple[str, int]:
        async with user(url, alice) as mine, user(url, bob) as other:
            ready = [asyncio.Event() for _ in range(2)]
            listening = [asyncio.create_task(listen(mine, one)) for one in ready]
            for one in ready:
                await one.wait()
            with pytest.raises(MCPError) as refused:
                await mine.call_tool("inspect", {})
            seen = await other.call_tool("inspect", {})
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            return refused.value.message, seen.is_error

    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")
    with served(assisted(tmp_path / "t.db"), tokens, connections=4) as (url, _):
        words, failed = asyncio.run(main())
    assert words == "2 requests of yours are under way; wait for one to end."
    assert not failed


@pytest.mark.requirement("rates")
def test_a_caller_who_asks_too_often_waits_and_others_do_not() -> None:
    now = [0.0]
    buckets = Buckets(60, 2, lambda: now[0])
    assert [buckets.take("a") for _ in range(2)] == [0.0, 0.0]
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0.0
    now[0] += 1.0
    assert buckets.take("a") == 0.0
