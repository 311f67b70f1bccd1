"""Older clients without sessions: what is whole in one request is answered, the rest refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from ...client_model import Model, sampled
from ...helpers import Tools, assisted
from ...tour import sums
from ...users import as_user, served, user
from .test_connections import NEWER
from .test_older_sessions import HELLO


@pytest.mark.requirement("any-replica")
def test_an_older_client_gets_no_session_and_no_stream(tmp_path: Path) -> None:
    headers = {"Accept": NEWER["Accept"]}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
    listed = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    with (
        served(assisted(tmp_path / "t.db"), stateless=True) as (url, _),
        httpx2.Client(base_url=url, headers=headers) as http,
    ):
        found = http.post("/mcp", json=hello)
        assert found.status_code == 200
        assert "mcp-session-id" not in found.headers
        former = {"mcp-session-id": "of-another-replica"}
        assert http.post("/mcp", json=listed, headers=former).status_code == 200
        for method in ("GET", "DELETE"):
            refused = http.request(method, "/mcp", headers=former)
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.requirement("any-replica")
def test_what_needs_a_session_is_refused_in_words_to_an_older_client_alone(tmp_path: Path) -> None:
    async def main(client: Client) -> None:
        call = Tools(client)
        s = await sums(call)
        with (
            pytest.warns(MCPDeprecationWarning),
            pytest.raises(MCPError, match="Read the resource again"),
        ):
            await client.subscribe_resource(f"textgrad://sessions/{s}/graph")

    with served(assisted(tmp_path / "t.db"), stateless=True) as (url, _):
        as_user(url, "anybody", main, "legacy")


@pytest.mark.requirement("any-replica")
def test_prompts_for_an_older_clients_model_are_handed_to_the_assistant(tmp_path: Path) -> None:
    model = Model()

    async def main(url: str) -> None:
        async with user(url, "anybody", "legacy", sampling_callback=model) as client:
            call = Tools(client)
            result = await call("forward", session_id=await sums(call))
            assert result["status"] == "needs_completions"
            assert any("not without a session" in note for note in result["notes"])

    with served(sampled(tmp_path), stateless=True) as (url, _):
        asyncio.run(main(url))
    assert model.asked == []
