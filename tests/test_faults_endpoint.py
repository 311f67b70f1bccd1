"""A whole run against an endpoint that fails: exact numbers of requests, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from textgrad_mcp.engine.engine import Engine

from .helpers import ME
from .standin import Fault, StandIn, fault
from .test_ledger import session, values, with_endpoint

FATAL: Mapping[str, Fault] = {
    "401": fault("401"),
    "quota": fault("quota"),
    "404": fault("404"),
    "HTML": fault("html"),
    "a long pause": fault("429", retry_after=3600),
    "down, without retries": fault("503"),
}


@pytest.mark.parametrize("refusal", FATAL.values(), ids=FATAL.keys())
@pytest.mark.parametrize("at_once", [1, 4])
def test_after_a_fatal_refusal_only_the_calls_in_flight_have_gone_out(
    tmp_path: Path, refusal: Fault, at_once: int
) -> None:
    """Replies come at once, so that every slot is free again before anything is recorded."""

    async def main(engine: Engine) -> None:
        s = await session(engine, [f"q{n}" for n in range(12)])
        assert (await engine.forward(ME, session_id=s)).status == "failed"
        assert len(server.log) == at_once
        broken[0] = False
        assert (await engine.resume(ME, session_id=s)).status == "done"
        assert len(server.log) == at_once + 12
        assert len(await values(engine, s)) == 12

    broken = [True]
    with StandIn(faults=lambda *_: refusal if broken[0] else None) as server:
        role = {"concurrency": at_once, "retries": 0}
        with_endpoint(server, main, tmp_path / "t.db", role=role, minibatch=16)
