"""What an assistant reads to do two jobs: four pieces of code repaired, two prompts of a pipeline.

    python benchmarks/reading.py [--by-hand]

A script answers in the assistant's place, at no model's cost; it is right only with better texts,
so that steps are accepted. Counted are tool calls, prompts answered, and the characters of every
result as text. `--by-hand` does the jobs without `optimize_prompt`, as it was done before it came;
that way runs with earlier versions, too:

    git archive VERSION | tar -x -C OLD/textgrad_mcp && PYTHONPATH=OLD python ... --by-hand
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp import Client
from mcp_types import TextContent
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.app import build

Facts = dict[str, Any]
STEPS = ("tokenise the line", "fold the pairs", "keep the last of equals", "round half to even")
RULES = (
    "An empty input gives an empty result and never an error. ",
    "Numbers may be negative, and may be written with a decimal comma. ",
    "The order of what is equal is the order in which it came. ",
    "Nothing outside the function may be changed, and nothing may be printed. ",
    "Inputs of a hundred thousand items have to be done within a second. ",
)
TESTS = 9
SCORES = (5, 7, 9)
"""Tests that pass with the code as it is, and after each of two rounds."""
DRAFT = "Write a first answer to the customer's question about the bicycle shop."
CHECK = "Check the draft and write the answer that is sent."
JUDGE = (
    "Judge the answer that is sent to the customer. It has to say what the shop will do and by "
    "which day, in at most three sentences; it must not promise what the policy does not allow; it "
    "has to be polite without being servile, name the item in question, and hold no internal "
    "words such as ticket or case. An answer that leaves the customer with nothing to do or to "
    "expect is worthless, however friendly. A price that is named has to be the right one. "
) * 4


def problem(n: int) -> str:
    """A statement of about a page."""
    return f"Problem {n}: write solve(items), which has to {STEPS[n]}. " + "".join(
        f"({k + 1}) {rule}" for k, rule in enumerate(RULES * 2)
    )


def code(n: int, version: int) -> str:
    """About forty lines; each version handles more."""
    body = "\n".join(
        f"    if len(items) > {k}:\n        total[{k}] = items[{k}] - {k if version > k % 3 else 0}"
        for k in range(16)
    )
    return (
        f"def solve(items):  # {STEPS[n]}, version {version}\n    total = {{}}\n{body}\n"
        "    return total\n"
    )


def report(n: int, version: int) -> Facts:
    """What running the tests gives."""
    failed = TESTS - SCORES[version]
    lines = [
        f"FAILED test_{STEPS[n].split()[0]}_{k}: assert solve([{k}, {-k}]) == {{0: {k}}}, "
        f"got {{0: {k + 1}}}"
        for k in range(failed)
    ]
    said = "\n".join([f"{SCORES[version]} passed, {failed} failed", *lines])
    return {"feedback": said if failed else "All tests pass.", "score": SCORES[version] / TESTS}


def question(n: int) -> str:
    """What a customer wrote."""
    return (
        f"Hello, I bought the city bicycle number {400 + n} from you {n + 2} weeks ago and the "
        "rear brake has been squealing ever since, even after I cleaned the rims twice. Your "
        "colleague on the phone said it might be under warranty. I need it for work on Monday. "
        f"Can you tell me what you will do about it and what it costs, please? Regards, no. {n}"
    )


class Reader:
    """A client that counts what it is given to read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls, self.prompts, self.wrong = 0, 0, 0
        self.read: Counter[str] = Counter()

    async def __call__(self, tool: str, **arguments: Any) -> Facts:
        """One call, whatever comes of it."""
        result = await self._client.call_tool(tool, arguments)
        facts = dict(result.structured_content or {})
        self.calls += 1
        self.wrong += bool(result.is_error)
        asked = "prompts" if facts.get("pending") else tool
        for block in result.content:
            self.read[asked] += len(block.text) if isinstance(block, TextContent) else 0
        return facts

    async def done(self, tool: str, reply: Callable[[Facts], Any], **arguments: Any) -> Facts:
        """A call, and all that it asks for, answered."""
        found = await self(tool, **arguments)
        while found.get("status") == "needs_completions":
            given = {p["id"]: reply(p) for p in found["pending"]}
            self.prompts += len(given)
            found = await self(
                "resume", session_id=found["session_id"], completions=given, brief=True
            )
        return found


async def repaired(call: Reader, n: int, *, by_hand: bool) -> None:
    """One piece of code, in two rounds."""
    version = 0

    def reply(pending: Facts) -> Any:
        nonlocal version
        if pending["purpose"].startswith("update"):
            version += 1
            return {"value": code(n, version)}
        return report(n, version)

    if by_hand:
        s, inputs = await _code_by_hand(call, n)
        told: Facts = {"kind": "feedback", "inputs": inputs}
        await call("compute_loss", session_id=s, **told, **report(n, 0))
    else:
        given = {"prompt": code(n, 0), "context": problem(n), "tests": "run the nine tests"}
        begun = await call("optimize_prompt", **given, **report(n, 0))
        s = begun["session_id"]
        told = {"kind": "feedback", "inputs": {"text": "v1", "context": "v2"}}
    for _ in SCORES[1:]:
        back = await call("backward", session_id=s)
        if back.get("status") == "failed":  # earlier versions: several losses
            await call("backward", session_id=s, losses=[f"v{2 + version + 1}"])
        await call.done("step", reply, session_id=s)
        if by_hand:
            await call("inspect", session_id=s, id="v1")
        await call("compute_loss", session_id=s, **told, **report(n, version))
    await call("inspect", session_id=s, id="v1@1..3")


async def _code_by_hand(call: Reader, n: int) -> tuple[str, Facts]:
    made = await call("create_variable", role="a Python function", value=code(n, 0))
    s = made["session_id"]
    constant = {"session_id": s, "requires_grad": False}
    await call("create_variable", **constant, role="the problem", value=problem(n))
    return s, {"code": "v1", "problem": "v2"}


async def piped(call: Reader, *, by_hand: bool) -> Facts:
    """A pipeline of two prompts: built, measured, stepped, measured."""
    made = await call("create_variable", role="prompt of the draft", value=DRAFT)
    s = made["session_id"]
    await call("create_variable", session_id=s, role="prompt of the check", value=CHECK)
    await call("create_variable", session_id=s, role="the question", example_field="question")
    for split, first, count in (("train", 0, 4), ("validation", 4, 4), ("test", 8, 3)):
        rows = [{"question": question(n)} for n in range(first, first + count)]
        await call("add_examples", session_id=s, split=split, examples=rows)
    llm = {"session_id": s, "operation": "llm"}
    await call.done("forward", _answer, **llm, system="v1", inputs={"question": "v3"})
    template = {"template": "Question: {question}\n\nDraft: {draft}"}
    inputs = {"question": "v3", "draft": "v4"}
    await call.done("forward", _answer, **llm, **template, system="v2", inputs=inputs)
    judge = {"kind": "judge", "instruction": JUDGE, "inputs": {"question": "v3", "answer": "v5"}}
    await call.done("compute_loss", _answer, session_id=s, **judge)
    await call.done("evaluate", _answer, session_id=s, split="validation")
    await call.done("evaluate", _answer, session_id=s, split="test")
    await call.done("backward", _answer, session_id=s)
    step = await call.done("step", _answer, session_id=s, accept="if_better", candidates=2)
    await call.done("evaluate", _answer, session_id=s, split="test")
    await call("inspect", session_id=s, what="report")
    return step


def _answer(pending: Facts) -> Any:
    """A model that writes well only under better prompts."""
    prompt, system = pending["prompt"], pending.get("system") or ""
    match pending["purpose"].partition(":")[0]:
        case "judge":
            good = "by Friday" in prompt
            words = (
                "It says what is done and by when." if good else "No day, and no next step. " * 4
            )
            return {"feedback": words, "score": 1.0 if good else 0.25}
        case "gradient":
            keys = re.findall(r'"(v\d+(?: e\d+)?)":', prompt)
            return dict.fromkeys(keys, "Ask for a day, and for what the shop does. " * 4)
        case "update":
            old = DRAFT if DRAFT in prompt else CHECK
            second = "Then stop. " if "candidate 2" in pending["purpose"] else ""
            rules = "Say what the shop does, and name the day. " + second + "Be brief. " * 9
            return {"value": f"{old} {rules}"}
    who = prompt[-3:].strip()
    text = f"Dear customer {who}, thank you for your message about the brake of your bicycle. " * 3
    return text + ("We mend it by Friday, free of charge." if "name the day" in system else "")


async def measure(*, by_hand: bool) -> dict[str, Reader]:
    """Both jobs, each by a client of its own."""
    role = RoleSettings(answerer="assistant")
    found: dict[str, Reader] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        settings = Settings(database=Path(folder) / "t.db", forward=role, backward=role)
        async with Client(build(settings)) as client:
            found["code"] = Reader(client)
            for n in range(len(STEPS)):
                await repaired(found["code"], n, by_hand=by_hand)
            found["pipeline"] = Reader(client)
            step = await piped(found["pipeline"], by_hand=by_hand)
            if not step.get("accepted"):
                raise RuntimeError(f"the step was refused: {step}")
    return found


def main() -> None:
    """The command line: a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by-hand", action="store_true", help="without optimize_prompt")
    found = asyncio.run(measure(by_hand=parser.parse_args().by_hand))
    print("| job | calls | wrong | prompts | characters | of them in |\n|---|---|---|---|---|---|")
    for job, reader in found.items():
        where = ", ".join(f"{name} {count:,}" for name, count in reader.read.most_common(5))
        total = reader.read.total()
        print(
            f"| {job} | {reader.calls} | {reader.wrong} | {reader.prompts} | {total:,} | {where} |"
        )
    print(f"{sum(reader.read.total() for reader in found.values()):,} characters in all")


if __name__ == "__main__":
    main()
