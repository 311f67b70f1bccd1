"""Quotas: what one owner may have and use, whoever else is busy."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs import Caller
from textgrad_mcp.schemas.errors import QuotaExceeded
from textgrad_mcp.schemas.results import Result
from textgrad_mcp.server.config import load

from .helpers import Tools, an_engine, answered, assisted, drive, endpoint
from .standin import StandIn

ALICE, BOB = Caller(owner="alice"), Caller(owner="bob")
WIDE = 8


async def fan(engine: Engine, caller: Caller) -> str:
    """A program that needs WIDE calls; its session."""
    made = await engine.create_variable(caller, role="prompt", value="Be brief.")
    s = str(made.session_id)
    await engine.create_variable(caller, session_id=s, role="q", example_field="q")
    rows = [{"q": f"question {n} of {caller.owner}"} for n in range(WIDE)]
    await engine.add_examples(caller, session_id=s, split="train", examples=rows)
    return s


async def forward(engine: Engine, caller: Caller, s: str) -> Result:
    return await engine.forward(
        caller, session_id=s, operation="llm", system="v1", inputs={"q": "v2"}
    )


@pytest.mark.requirement("quotas")
def test_an_owner_has_no_more_sessions_than_allowed_and_others_are_not_concerned() -> None:
    async def main() -> None:
        async with an_engine(quota_sessions=2) as engine:
            kept = [
                await engine.create_variable(ALICE, role="r", value=f"text {n}") for n in range(2)
            ]
            with pytest.raises(QuotaExceeded, match="You have 2 sessions, and 2 is the most"):
                await engine.create_variable(ALICE, role="r", value="one more")
            await engine.create_variable(
                ALICE, session_id=kept[0].session_id, role="r", value="in one that is there"
            )
            await engine.create_variable(BOB, role="r", value="text")
            [oldest, _] = await engine.store.every_session("alice")
            await engine.store.delete_sessions([oldest.pk])
            await engine.create_variable(ALICE, role="r", value="there is room again")

    asyncio.run(main())


@pytest.mark.requirement("quotas")
def test_sessions_begun_at_the_same_instant_do_not_pass_the_quota() -> None:
    async def main() -> None:
        async with an_engine(quota_sessions=3) as engine:
            begun = await asyncio.gather(
                *(engine.create_variable(ALICE, role="r", value=f"{n}") for n in range(10)),
                return_exceptions=True,
            )
            refused = [one for one in begun if isinstance(one, QuotaExceeded)]
            assert len(refused) == 7
            assert len(await engine.store.every_session("alice")) == 3

    asyncio.run(main())


@pytest.mark.requirement("quotas")
def test_calls_of_a_day_are_counted_exactly_and_the_rest_is_made_on_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.db"

    async def main(server: StandIn) -> None:
        answerer = OpenAIAnswerer(endpoint(server))
        async with an_engine(answerer, path, quota_calls_per_day=WIDE + 3) as engine:
            first = await fan(engine, ALICE)
            assert (await forward(engine, ALICE, first)).status == "done"
            second = await fan(engine, ALICE)
            rows = [{"q": f"another {n}"} for n in range(WIDE)]
            await engine.add_examples(ALICE, session_id=second, split="test", examples=rows)
            stopped = await engine.forward(
                ALICE,
                session_id=second,
                operation="llm",
                system="v1",
                inputs={"q": "v2"},
                examples="test",
            )
            assert stopped.status == "failed"
            assert f"used {WIDE + 3} model calls today, and {WIDE + 3} a day" in str(stopped.error)
            assert "00:00 UTC, in " in stopped.next
            assert len(server.log) == WIDE + 3
            assert (await forward(engine, BOB, await fan(engine, BOB))).status == "done"
            await asyncio.to_thread(yesterday, path)
            done = await engine.resume(ALICE, session_id=second)
            assert done.status == "done"
            assert len(server.log) == 3 * WIDE

    with StandIn() as server:
        asyncio.run(main(server))


def yesterday(path: Path) -> None:
    """Make today's counts those of another day."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE owner_calls SET day = '2026-01-01'")


@pytest.mark.requirement("many-processes")
def test_two_servers_on_one_file_share_one_count(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def main(server: StandIn) -> None:
        one, other = (OpenAIAnswerer(endpoint(server)) for _ in range(2))
        async with (
            an_engine(one, path, quota_calls_per_day=WIDE + 1) as here,
            an_engine(other, path, quota_calls_per_day=WIDE + 1) as there,
        ):
            first, second = await fan(here, ALICE), await fan(there, ALICE)
            both = await asyncio.gather(forward(here, ALICE, first), forward(there, ALICE, second))
            assert "failed" in {result.status for result in both}

    with StandIn() as server:
        asyncio.run(main(server))
        assert len(server.log) == WIDE + 1


@pytest.mark.requirement("quotas")
def test_what_the_assistant_answers_is_not_counted(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        for n in range(3):
            made = await call("create_variable", role="q", value=f"question {n}")
            ask = {"operation": "llm", "inputs": {"q": "v1"}}
            asked = await call("forward", session_id=made["session_id"], **ask)
            assert (await answered(call, asked, lambda _: "an answer"))["status"] == "done"

    drive(main, assisted(tmp_path / "t.db", quota_calls_per_day=1))


@pytest.mark.requirement("quotas")
@pytest.mark.parametrize(
    ("flags", "environ", "toml"),
    [
        ({"quota_sessions": "7", "quota_calls_per_day": "9"}, {}, ""),
        ({}, {"QUOTA_SESSIONS": "7", "QUOTA_CALLS_PER_DAY": "9"}, ""),
        ({}, {}, "quota_sessions = 7\nquota_calls_per_day = 9\n"),
    ],
)
def test_the_operator_sets_quotas_by_flag_environment_or_file(
    tmp_path: Path, flags: dict[str, str], environ: dict[str, str], toml: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(toml)
    named = {f"TEXTGRAD_MCP_{key}": value for key, value in environ.items()}
    settings, origins = load(flags, named, file)
    assert (settings.quota_sessions, settings.quota_calls_per_day) == (7, 9)
    assert origins["quota_sessions"] != "default"
