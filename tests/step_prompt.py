"""The prompts of one real step, as they were sent.

    python -m tests.step_prompt          # writes docs/how-a-step-reads.md

They are read back from the ledger with `inspect`; the model is the one of `interrupted`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from textgrad_mcp.schemas.settings import Settings

from .helpers import Facts, Tools, endpoint, tools
from .interrupted import CODES, ROOT, model, sorter
from .standin import Body, StandIn, text_of

PAGE = ROOT / "docs" / "how-a-step-reads.md"
RULES = ["max_chars=400", "Never name a customer"]
ARGUMENTS = {"strategy": "gradient", "steps": 5, "candidates": 2, "seed": 3, "memory": 2}
REFLECTING = {"strategy": "reflect", "accept": "never", "candidates": 2}


def reply(body: Body) -> str:
    """The scripted model, which finds that every rewrite keeps to the rules."""
    if text_of(body["messages"][0]).startswith("You check whether"):
        return '{"problem": "", "verdict": "kept"}'
    prompt = text_of(body["messages"][-1])
    if '"hypothesis"' in prompt:
        wanted = dict.fromkeys(
            f"{c} for {CODES[c]}" for c in CODES if f"\n{c}\n</expected" in prompt
        )
        new = {
            "hypothesis": "Codes are not explained.",
            "value": f"Answer {', '.join(list(wanted)[:2])}.",
        }
        more = {"hypothesis_2": "Only codes are wanted.", "value_2": "Sort the ticket. One code."}
        return json.dumps({"diagnosis": "The right outputs are codes."} | new | more)
    return model(body)


async def prompts(folder: Path) -> dict[str, Facts]:
    """The last requests for feedback, a rewrite and a reflection, as the ledger holds them."""
    with StandIn(reply=reply) as server:
        backward = endpoint(server, params={"seed": 1})
        settings = Settings(
            database=folder / "t.db", forward=endpoint(server), backward=backward, data_dir=folder
        )
        async with tools(settings) as call:
            by_feedback = await last_asked(call, await optimised(call, ARGUMENTS))
            s = await optimised(call, {"steps": 1, "candidates": 2})
            await call("forward", session_id=s, examples=["e1", "e2", "e3", "e4"])
            await call("step", session_id=s, **REFLECTING)
            reflecting = await last_asked(call, s)
            return {
                "gradient": by_feedback["gradient"],
                "update": by_feedback["update"],
                "reflect": reflecting["update"],
            }


async def last_asked(call: Tools, s: str) -> dict[str, Facts]:
    """The last request of each purpose."""
    calls = (await call("inspect", session_id=s, what="calls"))["view"]["calls"]
    last = {one["purpose"]: one["id"] for one in reversed(calls)}
    return {purpose: await whole(call, s, one) for purpose, one in last.items()}


async def whole(call: Tools, s: str, id: str) -> Facts:  # noqa: A002 - as in the tool
    """A call with all of its request, read a page at a time."""
    view: Facts = (await call("inspect", session_id=s, id=id))["view"]
    while view["request"].endswith("…"):
        read = view["request"][:-1]
        more = await call("inspect", session_id=s, id=id, offset=len(read))
        view["request"] = read + more["view"]["request"]
    return view


async def optimised(call: Tools, arguments: Facts) -> str:
    """A session after some steps, with accepted and refused proposals."""
    s = await sorter(call, lambda _, rows: {"examples": rows}, constraints=RULES)
    await call("optimize", session_id=s, **arguments)
    return s


def messages(view: Facts) -> list[Facts]:
    """What a call sent."""
    return list(json.loads(view["request"])["messages"])


def page(sent: dict[str, Facts]) -> str:
    """The prompts in Markdown."""
    parts = [HEAD.format(arguments=", ".join(f"{k}={v}" for k, v in ARGUMENTS.items()))]
    for purpose, title in TITLES.items():
        parts.append(title)
        for message in messages(sent[purpose]):
            parts.append(f"{message['role'].capitalize()} message:")
            parts.append(f"~~~text\n{message['content']}\n~~~")
        parts.append(f"Reply of the scripted model:\n\n~~~json\n{sent[purpose]['text']}\n~~~")
    return "\n\n".join([*parts, NOTES])


HEAD = """# How a step reads

The requests behind a rewrite, as they were sent, read back from the ledger with
`inspect(session_id, id="c7")`; written by `python -m tests.step_prompt`, and checked by
`test_training_update.py`. The session sorts support tickets with a scripted model;
`optimize({arguments})` has run, and these are its last ones;
the reflection is of a session that had one step before.
The instructions are in `engine/texts`."""
TITLES = {
    "gradient": "## Feedback",
    "update": "## The rewrite",
    "reflect": "## A reflection: both in one request, which is the default for one prompt",
}
NOTES = """## What to look for

- Values stand between tags whose code stands in no value, so no ticket, output or past proposal can
  pass for an instruction.
- The present text carries its score; of what was tried before each text is there once (the newest
  six), with its score, the score it had to beat, and why it was refused.
- `memory=2` shows earlier feedback with what came of it, so that it is neither undone nor repeated.
- Constraints are sentences, those that code checks included; the request stands last, where small
  models heed it most.
- A reflection shows what the other two share between them: examples that fail and some that are
  solved, with what was expected and said, and attempts with those outputs that were not right.
- The feedback call shows each example's prompt, output and critique; the rewrite sees feedback
  alone. Both are told what they may quote where there are examples that measure, or a constraint.
"""


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        sent = asyncio.run(prompts(Path(folder)))
    PAGE.write_text(page(sent), encoding="utf-8")


if __name__ == "__main__":
    main()
