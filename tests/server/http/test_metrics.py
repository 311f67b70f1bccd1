"""/metrics: what it counts is what was done, and who may read it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from prometheus_client.parser import text_string_to_metric_families
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.http.serve import HttpOptions, http_app
from textgrad_mcp.server.http.tokens import new_token

from ...helpers import Facts, Tools, assisted, endpoint
from ...standin import StandIn, fault
from ...tour import sums
from ...users import as_user, served, user
from .test_connections import bearer


class Told(dict[tuple[str, ...], float]):
    """Every sample: its name, its labels' values in some order, and its number."""

    def __getitem__(self, key: tuple[str, ...]) -> float:
        return super().__getitem__((key[0], *sorted(key[1:])))


def told(url: str, **headers: str) -> Told:
    """What is told to whoever shows these headers."""
    found = httpx2.get(f"{url}/metrics", headers=headers)
    assert found.status_code == 200, found.text
    return Told(
        ((sample.name, *sorted(sample.labels.values())), sample.value)
        for family in text_string_to_metric_families(found.text)
        for sample in family.samples
    )


def paid(server: StandIn, path: Path) -> Settings:
    """Settings in which each token costs a dollar, and a failure is tried again."""
    prices = {"price_prompt": 1e6, "price_completion": 1e6}
    role = endpoint(server, retries=2, **prices)
    return Settings(database=path, forward=role, backward=role)


async def two_calls(client: Client) -> None:
    """Ask the model twice."""
    call = Tools(client)
    s = await sums(call)
    await call("forward", session_id=s)
    await call.refused("forward", session_id="tg_unknown")
    result = await client.call_tool("nonsense", {})
    assert result.is_error


@pytest.mark.requirement("metrics")
def test_what_was_asked_is_counted_as_the_endpoint_saw_it(tmp_path: Path) -> None:
    with (
        StandIn(faults={1: fault("503")}) as server,
        served(paid(server, tmp_path / "t.db"), metrics="") as (url, _),
    ):
        assert told(url)["process_resident_memory_bytes",] > 0  # before anything is open, too
        as_user(url, "anybody", two_calls)
        found = told(url)
        assert len(server.log) == 3
        address = server.url.removeprefix("http://").removesuffix("/v1")
    requests = {k[1:]: n for k, n in found.items() if k[0] == "textgrad_requests_total"}
    assert requests.pop(("forward", "ok")) == 2
    assert list(requests.values()) == [1]
    assert found["textgrad_retries_total", "forward"] == 1
    tokens = {k: found["textgrad_tokens_total", "forward", k] for k in ("prompt", "completion")}
    assert min(tokens.values()) > 0
    cost = found["textgrad_cost_dollars_total", "forward"]
    assert cost == pytest.approx(sum(tokens.values()))
    assert found["textgrad_tool_calls_total", "forward", "done"] == 2
    assert found["textgrad_tool_calls_total", "forward", "failed"] == 1
    assert found["textgrad_tool_calls_total", "unknown", "failed"] == 1
    for gauge in ("runs", "lease_age_seconds", "others_silence_seconds", "store_queue"):
        assert found[f"textgrad_{gauge}",] == 0
    assert found["textgrad_endpoint_allowed", address] == 16


@pytest.mark.requirement("metrics", "owners")
@pytest.mark.parametrize("by_owner", [False, True])
def test_only_the_owner_who_is_named_reads_it_and_others_names_only_if_wanted(
    tmp_path: Path, by_owner: bool
) -> None:
    tokens = tmp_path / "tokens"
    ann, eye = new_token(tokens, "ann"), new_token(tokens, "eye")
    options: Facts = {"metrics": "eye", "metrics_by_owner": by_owner}
    with (
        StandIn() as server,
        served(paid(server, tmp_path / "t.db"), tokens, **options) as (url, _),
    ):
        as_user(url, ann, two_calls)
        statuses = [
            httpx2.get(f"{url}/metrics", headers=headers).status_code
            for headers in ({}, bearer(ann), bearer("nonsense"))
        ]
        assert statuses == [401, 404, 401]
        found = told(url, **bearer(eye))
    assert found["textgrad_requests_total", *(["ann"] * by_owner), "forward", "ok"] == 2
    assert any("ann" in labels for labels in found) == by_owner


@pytest.mark.requirement("metrics")
def test_a_run_under_way_and_what_waits_for_an_endpoint_are_told(tmp_path: Path) -> None:
    async def main(url: str, server: StandIn) -> Told:
        async with user(url, "anybody") as client:
            call = Tools(client)
            s = await sums(call)
            running = asyncio.create_task(call("forward", session_id=s))
            await asyncio.to_thread(server.wait_for, lambda it: it.in_flight == 1)
            found = await asyncio.to_thread(told, url)
            server.resume()
            await running
            return found

    with StandIn(paused=True) as server:
        role = endpoint(server, concurrency=1)
        settings = Settings(database=tmp_path / "t.db", forward=role, backward=role)
        with served(settings, metrics="") as (url, _):
            found = asyncio.run(main(url, server))
        address = server.url.removeprefix("http://").removesuffix("/v1")
    assert found["textgrad_runs",] == 1
    names = ("active", "waiting", "allowed")
    assert [found[f"textgrad_endpoint_{name}", address] for name in names] == [1, 1, 1]


@pytest.mark.requirement("metrics", "origins")
def test_a_page_of_another_origin_or_name_cannot_read_it_on_loopback(tmp_path: Path) -> None:
    with served(assisted(tmp_path / "t.db"), metrics="") as (url, _):
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            found = httpx2.get(f"{url}/metrics", headers=headers)
            assert found.status_code in (403, 421)


@pytest.mark.requirement("metrics")
def test_without_the_option_there_is_none(tmp_path: Path) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, _):
        assert httpx2.get(f"{url}/metrics").status_code == 404


@pytest.mark.requirement("metrics")
def test_what_does_not_fit_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, tokens = assisted(tmp_path / "t.db"), tmp_path / "tokens"
    new_token(tokens, "ann")
    with pytest.raises(BadInput, match="how busy others are"):
        http_app(settings, HttpOptions(tokens=tokens, metrics=""))
    with pytest.raises(BadInput, match="cannot be for one owner"):
        http_app(settings, HttpOptions(metrics="ann"))
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BadInput, match=r"textgrad-mcp\[metrics\]"):
        http_app(settings, HttpOptions(metrics=""))
