"""Constraints in free words: a model says whether a rewrite keeps to them."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.completions import Completion, CompletionRequest, Message, Purpose
from ..schemas.graph import Variable
from .fence import Fence
from .ledger import Work
from .replies import Malformed, object_schema, parse_object
from .texts import text

REPLY = object_schema(
    {"problem": {"type": "string"}, "verdict": {"type": "string", "enum": ["kept", "broken"]}}
)
FORM = '{"problem": "what breaks which rule, or empty", "verdict": "kept" | "broken"}'


async def broken(work: Work, parameter: Variable, rules: Sequence[str], new: str) -> str:
    """What in `new` breaks one of the `rules`, in words; empty if it keeps to them all.

    One call for all rules. Raises NotYet, ReplyError, AnswererError.
    """
    if not rules:
        return ""
    fence = Fence([parameter.value or "", new])
    parts = [
        "Rules:\n" + "\n".join(f"- {rule}" for rule in rules),
        "The text before:",
        fence.wrap("before", parameter.value or "", role=parameter.role),
        "The text to check:",
        fence.wrap("text", new),
        text("reply", form=FORM),
    ]
    request = CompletionRequest(
        purpose=Purpose.JUDGE,
        messages=(
            Message(role="system", content=text("constraints")),
            Message(role="user", content="\n\n".join(parts)),
        ),
        reply=REPLY,
        about=f"whether a new text for {parameter.id} keeps to its constraints",
    )
    return await work.ask(request, _read)


def _read(completion: Completion) -> str:
    reply = parse_object(completion.text, REPLY)
    if reply["verdict"] == "kept":
        return ""
    if not reply["problem"].strip():
        raise Malformed('"problem" is empty. Say what breaks which rule.')
    return str(reply["problem"]).strip()
