"""A scorer that an assistant wrote: it runs when a person has agreed to it, and as it was then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client
from mcp_types import ElicitResult
from textgrad_mcp.server.protocol.app import build

from ...helpers import Facts, Tools, assisted, drive

SCORE = """
import json, sys
text = json.load(sys.stdin)["inputs"]["text"]
print(json.dumps({"score": min(len(text), 10) / 10, "feedback": "longer, please"}))
"""
ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
Mode = Literal["legacy", "auto"]
LOSS = {"kind": "evaluator", "evaluator": "score.py", "inputs": {"text": "v1"}}


class Person:
    """Answers what is asked, and remembers it."""

    def __init__(self, action: Literal["accept", "decline", "cancel"], run: bool = True) -> None:
        self.asked: list[str] = []
        self._said = ElicitResult(
            action=action, content={"run": run} if action == "accept" else None
        )

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        return self._said


def workspace(folder: Path) -> Path:
    """A workspace with a scorer."""
    (folder / "score.py").write_text(SCORE)
    return folder


def with_person(person: Person, folder: Path, mode: Mode, main: Any, **settings: Any) -> None:
    """Run `main` with a client whose person can be asked."""

    async def run() -> None:
        server = build(assisted(folder / "t.db", workspace=workspace(folder), **settings))
        async with Client(server, mode=mode, elicitation_callback=person) as client:
            await main(Tools(client))

    asyncio.run(run())


async def started(call: Tools) -> str:
    """A session with a text, v1."""
    return str((await call("create_variable", role="a text", value="short"))["session_id"])


@pytest.mark.requirement("consent")
@ERAS
def test_a_script_runs_once_a_person_has_agreed_and_is_not_asked_about_again(
    tmp_path: Path, mode: Mode
) -> None:
    person = Person("accept")

    async def main(call: Tools) -> None:
        s = await started(call)
        first = await call("compute_loss", session_id=s, **LOSS)
        assert (first["mean_score"], first["values"][0]["text"]) == (0.5, "longer, please")
        begun = await call("optimize_prompt", prompt="longer by now", evaluator="score.py")
        assert begun["mean_score"] == 1.0
        assert len(person.asked) == 1
        assert SCORE in person.asked[0]
        assert "score.py" in (await call("inspect", session_id=s))["view"]["evaluators"]

    with_person(person, tmp_path, mode, main)


@pytest.mark.requirement("consent")
@ERAS
@pytest.mark.parametrize(
    "person", [Person("decline"), Person("cancel"), Person("accept", run=False)]
)
def test_without_a_yes_nothing_runs_and_nothing_is_made(
    tmp_path: Path, mode: Mode, person: Person
) -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        words = await call.refused("compute_loss", session_id=s, **LOSS)
        assert "did not agree" in words
        assert (await call("inspect", session_id=s, what="graph"))["view"]["operations"] == []

    with_person(person, tmp_path, mode, main)


@pytest.mark.requirement("consent")
def test_a_script_that_was_changed_is_asked_about_again_and_runs_as_it_was(tmp_path: Path) -> None:
    person = Person("accept")

    async def main(call: Tools) -> None:
        s = await started(call)
        await call("compute_loss", session_id=s, **LOSS)
        (tmp_path / "score.py").write_text(SCORE.replace("longer", "shorter"))
        await call("backward", session_id=s)
        again = await call("evaluate", session_id=s)
        assert again["failures"][0]["feedback"] == "longer, please"
        changed = await call("compute_loss", session_id=s, **LOSS, name="changed")
        assert changed["values"][0]["text"] == "shorter, please"
        assert len(person.asked) == 2

    with_person(person, tmp_path, "auto", main)


@pytest.mark.requirement("consent")
@pytest.mark.parametrize("how", ["ask", "off"])
def test_where_nobody_can_be_asked_the_ways_out_are_named(tmp_path: Path, how: str) -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        words = await call.refused("compute_loss", session_id=s, **LOSS)
        assert "Nobody has agreed" in words
        assert "workspace_evaluators='allow'" in words
        words = await call.refused("compute_loss", session_id=s, **LOSS | {"evaluator": "no.py"})
        assert "no.py" in words

    settings = {"workspace": workspace(tmp_path), "workspace_evaluators": how}
    drive(main, assisted(tmp_path / "t.db", **settings))


@pytest.mark.requirement("consent")
def test_the_operator_can_allow_all_scripts_or_none(tmp_path: Path) -> None:
    async def allowed(call: Tools) -> None:
        s = await started(call)
        assert (await call("compute_loss", session_id=s, **LOSS))["mean_score"] == 0.5

    settings = {"workspace": workspace(tmp_path), "workspace_evaluators": "allow"}
    drive(allowed, assisted(tmp_path / "t.db", **settings))
    person = Person("accept")

    async def refused(call: Tools) -> None:
        await call.refused("compute_loss", session_id=await started(call), **LOSS)
        assert person.asked == []

    with_person(person, tmp_path, "auto", refused, workspace_evaluators="off")


@pytest.mark.requirement("consent")
def test_an_agreement_ends_with_the_server_and_the_loss_says_how_to_go_on(tmp_path: Path) -> None:
    sessions: list[str] = []

    async def first(call: Tools) -> None:
        sessions.append(await started(call))
        await call("compute_loss", session_id=sessions[0], **LOSS)

    async def later(call: Tools) -> None:
        s = sessions[0]
        await call("backward", session_id=s)
        asked: Facts = await call("step", session_id=s)
        await call(
            "resume", session_id=s, completions={asked["pending"][0]["id"]: {"value": "Long."}}
        )
        words = await call.refused("forward", session_id=s)
        assert "compute_loss(kind='evaluator', evaluator='score.py'" in words
        await call("resume", session_id=s, cancel=True)
        again = await call("compute_loss", session_id=s, **LOSS)
        assert (again["loss"], again["mean_score"]) == ("v2", 0.5)

    with_person(Person("accept"), tmp_path, "auto", first)
    with_person(Person("accept"), tmp_path, "auto", later)
