"""Two models that heed different parts of one prompt, each at its own endpoint, and a critic."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgrad_mcp.schemas.settings import Settings

from .helpers import Tools, endpoint
from .standin import StandIn, default_reply, text_of

START, TWO_LINES = "Add a mark.", "Loud ones in capitals.\nAdd a mark."
ONE_LINE = "Capitals for the loud ones, and a mark at the end of every answer."
"""What each text makes of a question, and which model heeds what, says `answer`."""
BOTH = ["forward", "narrow"]


def answer(system: str, question: str, *, last_line_only: bool) -> str:
    """A question with a mark, as every text says; in capitals where the rule is heeded."""
    heeded = system.split("\n")[-1] if last_line_only else system
    loud = question.startswith("loud") and "capitals" in heeded.casefold()
    return f"{question.upper() if loud else question}!"


def right(question: str) -> str:
    """The right answer to a question."""
    return answer(ONE_LINE, question, last_line_only=True)


@dataclass
class World:
    """Two endpoints: one heeds every line of its prompt, the other the last alone; a critic who
    proposes these `texts`, and the requests that it got."""

    able: StandIn
    narrow: StandIn
    critic: StandIn

    def settings(self, path: Path, **fields: Any) -> Settings:
        """Settings with the model `narrow` beside that of the role forward: of one name."""
        return Settings(
            database=path,
            forward=endpoint(self.able),
            backward=endpoint(self.critic),
            models={"narrow": endpoint(self.narrow), **fields},
        )

    @property
    def runs(self) -> Counter[tuple[str, str, str]]:
        """How often each model was asked what."""
        every = (("forward", self.able), ("narrow", self.narrow))
        return Counter(
            (name, text_of(seen.body["messages"][0]), text_of(seen.body["messages"][1]))
            for name, server in every
            for seen in server.log
        )

    @property
    def asked(self) -> int:
        """How many calls there were, of whomever."""
        return len(self.able.log) + len(self.narrow.log) + len(self.critic.log)

    @property
    def requests(self) -> list[str]:
        """What the critic was asked."""
        return [text_of(seen.body["messages"][-1]) for seen in self.critic.log]


@contextlib.contextmanager
def world(*texts: str, faults: Any = None) -> Iterator[World]:
    """The two models, and a critic whose reflections hold `texts`."""

    def model(*, last_line_only: bool) -> Any:
        def reply(body: dict[str, Any]) -> str:
            system, question = (text_of(m) for m in body["messages"])
            return answer(system, question, last_line_only=last_line_only)

        return reply

    def critic(body: dict[str, Any]) -> str:
        keys = body["response_format"]["json_schema"]["schema"]["properties"]
        if "value" not in keys:
            return default_reply(body)
        values = dict(zip((k for k in keys if k.startswith("value")), texts, strict=False))
        return json.dumps({"diagnosis": "Loud ones are not loud."} | values)

    with (
        StandIn(reply=model(last_line_only=False)) as able,
        StandIn(reply=model(last_line_only=True), faults=faults) as narrow,
        StandIn(reply=critic) as critics,
    ):
        yield World(able, narrow, critics)


async def ready(call: Tools, prompt: str = START, **how: Any) -> str:
    """A prompt on questions of which every second is loud, 4 to learn from, 12 and 4 to measure."""
    s = str((await call("create_variable", role="prompt", value=prompt))["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    for split, count in (("train", 4), ("validation", 12), ("test", 4)):
        questions = [f"{'loud' if n % 2 else 'calm'} {split} {n}" for n in range(count)]
        rows = [{"q": q, "a": right(q)} for q in questions]
        await call("add_examples", session_id=s, split=split, examples=rows)
    await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"}, **how)
    named = {"output": "v4", "answer": "v3"}
    await call("compute_loss", session_id=s, kind="metric", metric="exact_match", inputs=named)
    return s


async def text(call: Tools, s: str) -> str:
    """The installed text."""
    found = await call("inspect", session_id=s, what="variable", id="v1")
    return str(found["view"]["text"])
