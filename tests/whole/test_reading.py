"""What an assistant has to read: nothing twice, and what belongs to which proposal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..helpers import Facts, Tools, answered, assisted, drive, text_of

LONG = "Write to the customer as one of us would, in plain words, and keep every promise. " * 4


def reply(pending: Facts) -> Any:
    """A long answer to anything."""
    match pending["purpose"].partition(":")[0]:
        case "update":
            return {"value": f"{LONG} {pending['id']}"}
        case "gradient":
            return dict.fromkeys(("v1", "v2"), "Be brief.") | {"v4 e1": "", "v4 e2": ""}
        case "judge":
            return {"feedback": "Too long.", "score": 0.5}
    return f"{pending['id']}: {LONG}"


async def pipeline(call: Tools) -> str:
    """Two prompts (v1, v2), a draft (v4) and an answer (v5), judged (v6); two examples a split."""
    made = await call("create_variable", role="draft", value="Draft.")
    s = str(made["session_id"])
    await call("create_variable", session_id=s, role="check", value="Check.")
    await call("create_variable", session_id=s, role="the question", example_field="q")
    llm = {"session_id": s, "operation": "llm"}
    await call("forward", **llm, system="v1", inputs={"q": "v3"})
    await call("forward", **llm, system="v2", inputs={"draft": "v4"})
    judge = {"kind": "judge", "instruction": f"Good? {LONG}"}
    await call(
        "compute_loss", session_id=s, inputs={"q": "v3", "draft": "v4", "sent": "v5"}, **judge
    )
    for split in ("train", "validation"):
        rows = [{"q": f"{split} {n}"} for n in range(2)]
        await call("add_examples", session_id=s, split=split, examples=rows)
    return s


def test_a_failure_shows_the_output_that_was_judged() -> None:
    async def main(call: Tools) -> None:
        s = await pipeline(call)
        drafts = await call("evaluate", session_id=s)
        sent = await call(
            "resume", session_id=s, completions={p["id"]: "d" for p in drafts["pending"]}
        )
        given = {p["id"]: f"final {p['id']}" for p in sent["pending"]}
        asked = await call("resume", session_id=s, completions=given)
        done = await answered(call, asked, reply)
        assert {one["output"] for one in done["failures"]} == set(given.values())

    drive(main, assisted())


@pytest.mark.requirement("said-once")
def test_a_judges_instruction_stands_once_on_a_page(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await pipeline(call)
        drafts = await call("evaluate", session_id=s)
        given = {p["id"]: "d" for p in drafts["pending"]}
        sent = await call("resume", session_id=s, completions=given)
        given = {p["id"]: "f" for p in sent["pending"]}
        page = await call.raw("resume", {"session_id": s, "completions": given})
        assert len((page.structured_content or {})["pending"]) == 2
        assert text_of(page).count(f"Good? {LONG.strip()}") == 1

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("read-once")
def test_who_remembers_reads_a_text_once_and_anybody_else_a_whole_page(tmp_path: Path) -> None:
    async def pages(call: Tools, s: str, *, brief: bool) -> list[str]:
        """The texts of the pages of a measurement, all prompts but the last page's answered."""
        found = [await call.called("evaluate", {"session_id": s})]
        while "judge:" not in text_of(found[-1]):
            asked = (found[-1].structured_content or {})["pending"]
            given = {p["id"]: reply(p) for p in asked}
            args = {"session_id": s, "completions": given, "brief": brief}
            found.append(await call.called("resume", args))
        return [text_of(page) for page in found]

    async def main(call: Tools) -> None:
        s = await pipeline(call)
        _, sent, judged = await pages(call, s, brief=True)
        assert "[as c1's answer]" in sent
        assert LONG.strip() not in sent
        assert "as in c3's answer" in judged
        assert judged.count(LONG.strip()) == 1, "the instruction alone, which is new"
        whole = text_of(await call.raw("resume", {"session_id": s}))
        assert "c3's" not in whole
        assert f"c3: {LONG.strip()}" in whole
        assert "shows the page whole" in judged
        assert "shows the page whole" not in whole

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("read-once")
def test_what_was_said_of_remembering_holds_until_completions_come_without_it(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="r", value=LONG))["session_id"])
        judge = {"kind": "judge", "inputs": {"text": "v1"}, "instruction": "Good?"}
        asked = await call("compute_loss", session_id=s, **judge)
        for brief in (True, False):
            given = {p["id"]: reply(p) for p in asked["pending"]}
            args = {"session_id": s, "completions": given, "brief": brief}
            await call.called("resume", args)
            await call("backward", session_id=s)
            step = await call.called("step", {"session_id": s, "accept": "never"})
            asked = dict(step.structured_content or {})
            assert (LONG.strip() in text_of(step)) != brief

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("said-once")
def test_prompts_say_which_candidate_they_are_under() -> None:
    async def main(call: Tools) -> None:
        s = await pipeline(call)
        await answered(call, await call("backward", session_id=s), reply)
        asked = await call("step", session_id=s, accept="if_better", candidates=2)
        under = set()
        while asked["status"] == "needs_completions":
            under |= {p["purpose"].partition(", under ")[2] for p in asked["pending"]}
            given = {p["id"]: reply(p) for p in asked["pending"]}
            asked = await call("resume", session_id=s, completions=given)
        assert under == {"", "candidate 1", "candidate 2"}
        done = asked
        assert max(len(p["text"]) for p in done["proposals"]) == 120
        assert done["proposals"][0]["chars"] > 300

    drive(main, assisted())


def test_between_two_versions_only_what_changed_is_shown() -> None:
    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="r", value=LONG))["session_id"])
        told = {"kind": "feedback", "inputs": {"text": "v1"}, "feedback": "No.", "score": 0}
        await call("compute_loss", session_id=s, **told)
        await call("backward", session_id=s)
        await answered(call, await call("step", session_id=s), lambda _: {"value": "Short."})
        view = (await call("inspect", session_id=s, id="v1@1..2"))["view"]
        assert "text" not in view
        assert "+Short." in view["diff"]
        assert (await call("inspect", session_id=s, id="v1@2"))["view"]["text"] == "Short."

    drive(main, assisted())
