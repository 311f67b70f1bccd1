"""Sessions worth looking at: tickets sorted into house codes, by a model that follows rules.

The rules stand in its system prompt as `word -> CODE`; a rewrite adds some, good ones and one that
helps here and harms there. So steps are accepted and refused, and an example gets worse.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.views.page import Page
from textgrad_mcp.engine.views.replay import Reader
from textgrad_mcp.engine.workers.pool import Workers
from textgrad_mcp.schemas.graph import Session
from textgrad_mcp.schemas.settings import Settings

from .helpers import Facts, Tools, answered, assisted, drive

SEED = "You sort support tickets. Name the department that should take care of the ticket."
CODES = "Answer with the code alone: FIN, SEC, ENG or GEN."
KNOWN = {"invoice": "FIN", "refund": "FIN", "crash": "ENG"}
"""Words whose code the model guesses right without a rule."""
NAMES = {"FIN": "finance", "SEC": "security", "ENG": "engineering", "GEN": "the front desk"}
TICKETS = {
    "FIN": (
        "My invoice for {month} shows the wrong address.",
        "I was charged twice in {month}.",
        "When does the refund for {month} arrive?",
        "The invoice page shows an error since {month}, but the amount is what worries me.",
    ),
    "SEC": (
        "I forgot my password again, last changed in {month}.",
        "Someone else used my login in {month}.",
        "My phone was stolen in {month}; please lock the account.",
    ),
    "ENG": (
        "The app ends with a crash when I open the {month} folder.",
        "An error 500 appears when I export {month}.",
        "Search has been slow since {month}.",
    ),
    "GEN": (
        "Are you open on holidays in {month}?",
        "Thank you for the nice talk in {month}.",
    ),
}
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September"]
PARROT = {
    "train": {"ticket": "The parrot in your lobby tore up my contract.", "code": "FIN"},
    "validation": {"ticket": "The parrot in your lobby greets everybody.", "code": "GEN"},
}
"""What a rule can be right about where it is learnt, and wrong about where it is checked."""
LADDER = (
    (CODES, "Be brief and polite.", "Take great care."),
    ("password -> SEC\nlogin -> SEC\nerror -> ENG", "Think step by step.", "urgent -> ENG"),
    ("parrot -> FIN", "Prefer SEC when in doubt.", "Ask if unsure."),
    ("stolen -> SEC\nslow -> ENG", "Take great care.", "month -> GEN"),
    ("Answer in German.", "Repeat the ticket.", "holidays -> FIN"),
    ("charged -> FIN", "slow -> GEN", "Be brief and polite."),
)
"""What rewrites add, rung by rung: the first of each is what the best of them says."""


def tickets(first: int, count: int) -> list[dict[str, str]]:
    """Rows of tickets with their codes, none twice."""
    every = [
        {"ticket": f"{text.format(month=month)} (#{1000 + n})", "code": code}
        for n, month in enumerate(MONTHS * 4)
        for code, texts in TICKETS.items()
        for text in texts
    ]
    return every[first : first + count]


def sort_ticket(system: str, ticket: str) -> str:
    """What the program's model says to a ticket, under a system prompt."""
    rules = re.findall(r"^(\w+) -> ([A-Z]{3})$", system, re.MULTILINE)
    known = [*rules, *KNOWN.items()]
    hits = [code for word, code in known if word in ticket.lower()]
    code = hits[0] if hits else "GEN"
    if CODES in system:
        return code
    return f"This ticket should go to {NAMES[code]}."


def rewrite(prompt: str) -> str:
    """The next text: what stands in the prompt, with one thing added."""
    found = re.search(r"The text to improve:\s*<[^>]+>\n(.*?)\n</", prompt, re.DOTALL)
    old = found.group(1) if found else SEED
    done = sum(rung[0] in old for rung in LADDER)
    tried = sum(rung[0] in prompt for rung in LADDER[done:])
    rung = LADDER[min(done + tried, len(LADDER) - 1)]
    return f"{old}\n{rung[_turn(prompt) % len(rung)]}"


_asked: dict[str, int] = {}


def _turn(prompt: str) -> int:
    _asked[prompt] = _asked.get(prompt, -1) + 1
    return _asked[prompt]


def reply(pending: Facts) -> Any:
    """What the assistant answers to one pending prompt."""
    purpose = pending["purpose"].partition(":")[0]
    system, prompt = pending.get("system") or "", pending["prompt"]
    if purpose == "forward":
        return sort_ticket(system, prompt)
    if purpose == "update":
        return {"value": rewrite(prompt)}
    if purpose == "judge":
        return {"feedback": "It names a department where a code is wanted.", "score": 0.5}
    return {"v1": feedback(prompt)}


def feedback(prompt: str) -> str:
    """What a critic says of a minibatch."""
    if "This ticket should go to" in prompt:
        return (
            "The output names the department in a sentence. What is expected is one of the house's "
            "codes (FIN, SEC, ENG, GEN) and nothing else, so say that only the code is wanted."
        )
    wrong = re.findall(r"\b(password|login|stolen|error|crash|slow|invoice|refund|charged)", prompt)
    words = ", ".join(dict.fromkeys(wrong)) or "the remaining topics"
    return (
        f"Tickets about {words} get GEN, though a word in them decides. Give the model a rule that "
        "names such words with their code."
    )


async def program(call: Tools, title: str = "system prompt that sorts tickets") -> str:
    """The program and its data: prompt v1, fields v2 and v3, answer v4, loss v5."""
    s = str((await call("create_variable", role=title, value=SEED))["session_id"])
    await call("create_variable", session_id=s, role="a ticket", example_field="ticket")
    await call(
        "create_variable",
        session_id=s,
        role="the right code",
        example_field="code",
        reference=True,
    )
    for split, rows in (
        ("train", [*tickets(0, 24), PARROT["train"]]),
        ("validation", [*tickets(24, 36), PARROT["validation"]]),
        ("test", tickets(60, 36)),
    ):
        await call("add_examples", session_id=s, split=split, examples=rows)
    ask = {"operation": "llm", "system": "v1", "inputs": {"ticket": "v2"}, "name": "sorter"}
    await answered(call, await call("forward", session_id=s, **ask), reply)
    loss = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}
    await answered(call, await call("compute_loss", session_id=s, **loss), reply)
    return s


async def optimised(call: Tools, steps: int = 7) -> str:
    """A session that was optimised, with a reading of the test split before and after."""
    s = await program(call)
    for tool, more in (
        ("evaluate", {"split": "test"}),
        (
            "optimize",
            {
                "strategy": "gradient",
                "steps": steps,
                "batch_size": 25,
                "patience": 9,
                "parents": "newest",
            },
        ),
        ("evaluate", {"split": "test"}),
    ):
        await answered(call, await call(tool, session_id=s, **more), reply)
    return s


def database_of(folder: Path, steps: int = 7) -> tuple[Path, str]:
    """A database with an optimised session, and the session's id."""
    path, found = folder / "t.db", []

    async def main(call: Tools) -> None:
        found.append(await optimised(call, steps))

    drive(main, assisted(path))
    return path, found[0]


Look = Callable[[Page, Session], Awaitable[None]]


def look(path: Path, session_id: str, main: Look, **options: Any) -> None:
    """Run `main` with a page over the database, and the session."""

    async def run() -> None:
        store, workers = Store(path), Workers()
        await store.open()
        try:
            session = await store.maintenance.any_session(session_id)
            assert session is not None
            await main(Page(Reader(store, Settings(), workers), **options), session)
        finally:
            await workers.close()
            await store.close()

    asyncio.run(run())


HOSTILE = (
    "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=2>"
    "<svg onload=window.pwned=3></svg><!-- ]]> `${window.pwned=4}` \u202eabc\u0007 {{7*7}} "
    "javascript:window.pwned=5"
)
"""Words that would run where a page took them for markup."""


def hostile_reply(pending: Facts) -> Any:
    """An assistant that answers everything with words that would run."""
    purpose = pending["purpose"].partition(":")[0]
    if purpose == "update":
        _asked["hostile"] = _asked.get("hostile", 0) + 1
        return {"value": f"{_asked['hostile']} {HOSTILE}"}
    if purpose == "judge":
        score = 0.9 if "1 </script>" in pending["prompt"] else 0.2
        return {"feedback": HOSTILE, "score": score}
    if purpose == "gradient":
        return {"v1": HOSTILE}
    return f"{(pending.get('system') or '')[:12]} {HOSTILE} {pending['prompt'][:6]}"


async def hostile(call: Tools) -> str:
    """A session with such words in its title, roles, names, fields, prompts, outputs, feedback,
    proposals and what waits."""
    s = str(
        (await call("create_variable", role=HOSTILE, value=HOSTILE, name=HOSTILE))["session_id"]
    )
    field = {"session_id": s, "role": HOSTILE, "name": HOSTILE}
    await call("create_variable", **field, example_field=f"field {HOSTILE}")
    for split in ("train", "validation", "test"):
        rows = [{f"field {HOSTILE}": f"{split} {n} {HOSTILE}"} for n in range(3)]
        await call("add_examples", session_id=s, split=split, examples=rows)
    ask = {"operation": "llm", "system": "v1", "inputs": {"x": "v2"}, "name": HOSTILE}
    await answered(call, await call("forward", session_id=s, **ask), hostile_reply)
    judge = {"kind": "judge", "instruction": HOSTILE, "inputs": {"output": "v3"}, "name": HOSTILE}
    await answered(call, await call("compute_loss", session_id=s, **judge), hostile_reply)
    await answered(
        call,
        await call("optimize", session_id=s, strategy="gradient", steps=2, candidates=2),
        hostile_reply,
    )
    await call("evaluate", session_id=s, split="test")
    return s
