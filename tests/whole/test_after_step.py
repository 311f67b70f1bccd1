"""What a result says once a step is over: what became of each text, where it stands, what comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..helpers import Facts, Tools, answered, assisted, drive, text_of

CODE = "def f(x):\n    return x\n" + "# a line that says nothing\n" * 20
TOLD: Facts = {"feedback": "1 of 2 fails.", "score": 0.5}


def reply(pending: Facts) -> Any:
    """A rewrite that differs from others; all that is measured passes."""
    if pending["purpose"].startswith("update"):
        return {"value": f"{CODE}# {pending['id']}"}
    return {"feedback": "All pass.", "score": 1.0}


async def begun(call: Tools) -> str:
    """Code whose tests were run."""
    made = await call("optimize_prompt", prompt=CODE, tests="pytest", **TOLD)
    await call("backward", session_id=made["session_id"])
    return str(made["session_id"])


async def stepped(call: Tools, s: str, **how: Any) -> Facts:
    """A step, with all that it asks for."""
    return await answered(call, await call("step", session_id=s, **how), reply)


@pytest.mark.requirement("after-step")
def test_who_is_second_is_not_called_refused() -> None:
    async def main(call: Tools) -> None:
        s = await begun(call)
        done = await stepped(call, s, accept="if_better", candidates=2)
        assert [p["verdict"] for p in done["proposals"]] == ["accepted", "not taken"]
        listed = (await call("inspect", session_id=s, what="steps"))["view"]["proposals"]
        assert [p["verdict"] for p in listed] == ["not taken", "accepted"]
        report = (await call("inspect", session_id=s, what="report"))["view"]
        assert report["proposals"] == {"accepted": 1, "another was taken": 1}

    drive(main, assisted())


@pytest.mark.requirement("after-step")
def test_what_comes_after_a_step_depends_on_what_it_has_measured() -> None:
    async def main(call: Tools) -> None:
        s = await begun(call)
        proposed = await stepped(call, s, accept="never")
        assert [p["verdict"] for p in proposed["proposals"]] == ["proposed"]
        assert "version='p1') installs it" in proposed["next"]
        view = (await call("inspect", session_id=s, id="p1"))["view"]["proposals"][0]
        assert view["text"].startswith(CODE)
        assert "+# c2" in view["diff"]
        await call("backward", session_id=s)
        unmeasured = await stepped(call, s)
        assert "compute_loss(" in unmeasured["next"]
        assert f"inspect(session_id='{s}', id='v1') shows the text whole" in unmeasured["next"]
        assert (await call("inspect", session_id=s, id="v1"))["view"]["text"].startswith(CODE)
        await call("compute_loss", session_id=s, kind="feedback", inputs={"text": "v1"}, **TOLD)
        await call("backward", session_id=s)
        measured = await stepped(call, s, accept="if_better")
        assert "compute_loss" not in measured["next"]
        assert "the score is what was reported, and nothing got worse" in measured["gate"]
        assert "example" not in measured["gate"]
        assert "what='report') tells what was won" in measured["next"]

    drive(main, assisted())


@pytest.mark.requirement("after-step")
def test_what_was_told_first_is_not_shown_as_what_holds_now() -> None:
    async def main(call: Tools) -> None:
        s = await begun(call)
        [before] = (await call("inspect", session_id=s, id="op1"))["view"]["operations"]
        assert before["now"] == TOLD
        await stepped(call, s, accept="if_better")
        await call("forward", session_id=s)
        [after] = (await call("inspect", session_id=s, id="op1"))["view"]["operations"]
        assert (after["told_first"], after["now"]["score"]) == (TOLD, 1.0)
        graph = await call.raw("inspect", {"session_id": s, "what": "graph"})
        assert TOLD["feedback"] not in text_of(graph)

    drive(main, assisted())


@pytest.mark.requirement("after-step")
@pytest.mark.parametrize("accept", ["always", "if_better"])
def test_a_report_has_the_scores_of_a_program_without_examples(accept: str) -> None:
    async def main(call: Tools) -> None:
        s = await begun(call)
        await stepped(call, s, accept=accept)
        if accept == "always":
            await call("forward", session_id=s)  # asks for a measurement
            await answered(call, await call("resume", session_id=s), reply)
        report = (await call("inspect", session_id=s, what="report"))["view"]
        [scores] = report["scores"]
        assert scores["first"] == '0.500 at {"v1":1}'
        assert scores["latest"] == '1.000 at {"v1":2}'
        assert "rose from 0.50 to 1.00 by the program's own loss" in report["headline"]

    drive(main, assisted())


@pytest.mark.requirement("one-call")
def test_the_text_may_be_a_file_that_is_written_once_a_person_approves(tmp_path: Path) -> None:
    file = tmp_path / "AGENTS.md"
    file.write_text("Be nice.")

    async def main(call: Tools) -> None:
        given = {"file": "AGENTS.md", "judge": "Is it clear?"}
        asked = await call("optimize_prompt", write=True, **given)
        s = str(asked["session_id"])
        low = {"feedback": "Vague.", "score": 0.1}
        await answered(call, asked, lambda _: low)
        await call("backward", session_id=s)
        await stepped(call, s, accept="never")
        assert file.read_text() == "Be nice."
        await call("revert", session_id=s, variable="v1", version="p1")
        assert file.read_text().startswith(CODE)
        assert "two texts" in await call.refused("optimize_prompt", prompt="x", **given)

    drive(main, assisted(tmp_path / "t.db", workspace=tmp_path))


@pytest.mark.requirement("after-step")
def test_texts_of_one_candidate_are_told_together_and_installed_together() -> None:
    def judged(pending: Facts) -> Any:
        if pending["purpose"].startswith("update"):
            second = "candidate 2" in pending["purpose"]
            return {"value": "A longer text." if second else "A better text."}
        if pending["purpose"].startswith("gradient"):
            return {"v1": "Shorter.", "v2": "Shorter."}
        place = int(pending["purpose"].partition(" for e")[2].partition(",")[0])
        assert "under" not in pending["purpose"], "who judges is not told whose text it is"
        mine = 0.4 + 0.2 * ("better" in pending["prompt"]) + 0.1 * ("longer" in pending["prompt"])
        return {"feedback": "So so.", "score": mine + 0.01 * place}

    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="a", value="Alpha."))["session_id"])
        await call("create_variable", session_id=s, role="b", value="Beta.")
        await call("create_variable", session_id=s, role="q", example_field="q")
        for split in ("train", "validation", "test"):
            rows = [{"q": f"{split} {n}"} for n in range(2)]
            await call("add_examples", session_id=s, split=split, examples=rows)
        inputs = {"a": "v1", "b": "v2", "q": "v3"}
        told = {"kind": "judge", "instruction": "Good?", "inputs": inputs}
        await answered(call, await call("compute_loss", session_id=s, **told), judged)
        first = await answered(call, await call("evaluate", session_id=s, split="test"), judged)
        assert "The score" not in first["next"]
        await answered(call, await call("backward", session_id=s), judged)
        asked = await call("step", session_id=s, accept="if_better", candidates=2)
        done = await answered(call, asked, judged)
        assert [p["candidate"] for p in done["proposals"]] == [1, 1, 2, 2]
        assert done["accepted"]
        assert "minibatch: by 0.20, this one by 0.10" in done["proposals"][2]["reason"]
        [read] = [
            one
            for one in (await call("inspect", session_id=s, what="report"))["view"]["scores"]
            if one["split"] == "validation"
        ]
        assert (read["evaluations"], read["gain"]) == (2, "+0.200 ± 0.000")
        again = await call("evaluate", session_id=s, split="test")
        higher = await answered(call, again, lambda _: {"feedback": "Good.", "score": 0.9})
        assert "on 2 held-out examples, a gain of" in higher["next"]

    drive(main, assisted())


def test_a_graph_without_operations_lists_its_texts_in_order() -> None:
    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="r", value="Text."))["session_id"])
        for n in range(3):
            await call("create_variable", session_id=s, role=f"r{n}", value="Text.")
        view = await call("inspect", session_id=s, what="graph")
        assert [v["id"] for v in view["view"]["variables"]] == ["v1", "v2", "v3", "v4"]
        assert "op1" not in view["next"]

    drive(main, assisted())


@pytest.mark.requirement("after-step")
def test_a_result_says_whether_the_file_has_the_new_text(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        for write, said in ((True, "holds the text of v1 now"), (False, "stays as it is")):
            (tmp_path / "f.py").write_text(CODE)
            made = await call("optimize_prompt", file="f.py", write=write, tests="pytest", **TOLD)
            s = str(made["session_id"])
            assert "v1 has the text of f.py" in made["notes"][0]
            await call("backward", session_id=s)
            done = await stepped(call, s, accept="if_better")
            assert [n for n in done["notes"] if said in n]
            assert ("# c" in (tmp_path / "f.py").read_text()) == write
            back = await call("revert", session_id=s, variable="v1", version=1)
            assert said in back["notes"][0]

    drive(main, assisted(tmp_path / "t.db", workspace=tmp_path))


@pytest.mark.requirement("read-once")
def test_what_is_to_be_run_is_shown_whole_to_everybody() -> None:
    async def main(call: Tools) -> None:
        s = await begun(call)
        asked = await call("step", session_id=s, accept="if_better", candidates=2)
        given = {p["id"]: reply(p) for p in asked["pending"]}
        args = {"session_id": s, "completions": given, "brief": True}
        page = await call.called("resume", args)
        text = "\n".join(line.strip() for line in text_of(page).split("\n"))
        for one in given.values():
            assert "\n".join(line.strip() for line in one["value"].split("\n")) in text

    drive(main, assisted())
