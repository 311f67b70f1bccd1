"""Two replicas behind a balancer without sticky sessions, one shared state."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from textgrad_mcp.schemas.database import Location, PostgresAddress
from textgrad_mcp.schemas.settings import Settings

from .. import interrupted
from ..balanced import Replicas, balanced
from ..client_model import EXACT, Mode, Model, prompt_of, sampled
from ..helpers import Facts, Tools, assisted, endpoint, served_by, text_of
from ..postgres_server import shared
from ..standin import StandIn, fault
from ..tour import sums, tour
from ..users import user

pytestmark = pytest.mark.each_store
ROOT = "textgrad://sessions"
AFTER = 45
"""Replies of an optimisation that are recorded when its replica is killed."""


@pytest.fixture
def database(store_kind: str, tmp_path: Path) -> Iterator[Location]:
    """Where the replicas keep what they share."""
    if store_kind == "sqlite":
        yield tmp_path / "t.db"
        return
    name = shared().lend()
    yield PostgresAddress(shared().url(name))
    shared().back(name)


def sorting(server: StandIn, database: Location, folder: Path) -> Settings:
    """What the optimisation of `interrupted` needs; a call waits for half a minute."""
    forward, backward = endpoint(server), endpoint(server, params={"seed": 1})
    given: Facts = {"data_dir": folder, "soft_deadline": 30.0}
    return Settings(database=database, forward=forward, backward=backward, **given)


async def until_recorded(call: Tools, s: str, count: int) -> None:
    """Wait until so many calls of a session are recorded."""
    async with asyncio.timeout(60):
        found = 0
        while found < count:
            found = (await call("inspect", session_id=s))["view"]["total"]["calls"]


@pytest.mark.requirement("any-replica", "takeover", "kill")
@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_replica_that_ends_in_mid_optimisation_costs_no_recorded_call(
    database: Location, tmp_path: Path, how: signal.Signals
) -> None:
    hanging, cut = interrupted.Hanging(), 0

    async def main(replicas: Replicas, server: StandIn) -> Facts:
        nonlocal cut
        async with user(replicas.url, "anybody") as client:
            call = Tools(client)
            s = await interrupted.prepared(call, tmp_path)
            held = len(server.log)
            hanging.left = AFTER
            running = asyncio.create_task(
                client.call_tool("optimize", {"session_id": s, **interrupted.ARGUMENTS})
            )
            await until_recorded(call, s, held + AFTER)
            await asyncio.to_thread(server.wait_for, lambda it: len(it.log) > held + AFTER)
            cut, hanging.left = len(server.log), float("inf")
            replicas.end(replicas.balancer.who_got('"optimize"'), how)
            if how == signal.SIGKILL:
                with pytest.raises(MCPError):
                    await running
            else:
                assert "Any server on the database goes on" in text_of(await running)
            done = await call("resume", session_id=s)
            while done["status"] == "running":
                done = await call("resume", session_id=s)
            sent = interrupted.sent(server)
            kept, again = sent[held : held + AFTER], sent[cut:]
            assert again
            assert not set(again) & set(kept)
            total = (await call("inspect", session_id=s))["view"]["total"]["calls"]
            assert total == len(set(sent))
            return done

    with (
        StandIn(reply=interrupted.model, faults=hanging) as server,
        balanced(sorting(server, database, tmp_path)) as replicas,
    ):
        done = asyncio.run(main(replicas, server))
    assert (done["status"], done["stopped"]) == ("done", "goal")


@pytest.mark.requirement("any-replica", "both-eras")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_every_request_of_a_tour_may_come_to_another_replica(
    database: Location, mode: Mode
) -> None:
    async def main(replicas: Replicas) -> None:
        async with user(replicas.url, "anybody", mode) as client:
            await tour(Tools(client))

    with balanced(assisted(database), stateless=True) as replicas:
        asyncio.run(main(replicas))
        took = [replica for replica, body in replicas.balancer.took if b"tools/call" in body]
        assert {took.count(0) - took.count(1)} <= {-1, 0, 1}
        assert len(took) > 10


@pytest.mark.requirement("any-replica", "asked-once")
def test_the_rounds_of_a_call_that_asks_the_clients_model_may_come_to_any_replica(
    database: Location, tmp_path: Path
) -> None:
    model = Model()

    async def main(replicas: Replicas) -> None:
        async with user(replicas.url, "anybody", sampling_callback=model) as client:
            call = Tools(client)
            s = await sums(call)
            assert (await call("compute_loss", session_id=s, **EXACT))["mean_score"] == 0.0
            assert (await call("backward", session_id=s))["status"] == "done"
            assert (await call("step", session_id=s, accept="if_better"))["accepted"]

    with balanced(sampled(tmp_path, database=database)) as replicas:
        asyncio.run(main(replicas))
        rounds = [replica for replica, body in replicas.balancer.took if b"inputResponses" in body]
        assert set(rounds) == {0, 1}
    prompts = [(p.system_prompt, prompt_of(p)) for p in model.asked]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.requirement("announced-elsewhere")
def test_who_listens_at_one_replica_hears_what_the_others_change(database: Location) -> None:
    async def main(replicas: Replicas) -> None:
        here, there = (url for url, _ in replicas.each)
        async with user(here, "anybody") as listening, user(there, "anybody") as other:
            call = Tools(other)
            s = await sums(call)
            uri = f"{ROOT}/{s}/graph"
            async with asyncio.timeout(30), listening.listen(resource_subscriptions=[uri]) as news:
                await call("create_variable", session_id=s, role="another", value="x")
                assert getattr(await anext(aiter(news)), "uri", None) == uri

    with balanced(assisted(database)) as replicas:
        asyncio.run(main(replicas))


@pytest.mark.requirement("progress-elsewhere")
@pytest.mark.parametrize("mode", ["legacy", pytest.param("auto", marks=pytest.mark.slow)])
def test_a_client_hears_how_far_a_run_is_that_another_replica_carries_out(
    database: Location, mode: Mode
) -> None:
    heard: list[tuple[float, float | None, str | None]] = []
    any_progress = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))
        any_progress.set()

    async def main(replicas: Replicas, server: StandIn) -> None:
        here, there = (url for url, _ in replicas.each)
        async with user(here, "anybody", mode) as client, user(there, "anybody", mode) as other:
            call = Tools(other)
            s = await sums(call)
            begun = asyncio.create_task(call("forward", session_id=s))
            await asyncio.to_thread(server.wait_for, lambda it: len(it.log) == 2)
            await until_recorded(call, s, 1)
            waiting = client.call_tool("resume", {"session_id": s}, progress_callback=hear)
            following = asyncio.create_task(waiting)
            async with asyncio.timeout(30):
                await any_progress.wait()
            await call("resume", session_id=s, cancel=True)
            await asyncio.gather(begun, following, return_exceptions=True)

    with (
        StandIn(faults={2: fault("hang")}) as server,
        balanced(served_by(server, database), stateless=True) as replicas,
    ):
        asyncio.run(main(replicas, server))
    assert heard[0] == (1, 2, "forward, at another server: 1 of 2 calls answered")
