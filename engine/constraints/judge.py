"""Constraints in free words: a model says whether a rewrite keeps to them."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.completions import Completion, CompletionRequest, Message, Purpose
from ...schemas.graph import Variable
from ..prompts import sentence, text
from ..prompts.fence import Fence
from ..replies.reply import Malformed, object_schema, parse_object
from ..runs.context import RunContext

REPLY = object_schema(
    {"problem": {"type": "string"}, "verdict": {"type": "string", "enum": ["kept", "broken"]}}
)
FORM = sentence("labels", "check_form")


async def broken(work: RunContext, parameter: Variable, rules: Sequence[str], new: str) -> str:
    """What in `new` breaks one of the `rules`, in words; empty if it keeps to them all.

    One call for all rules. Raises NotYet, ReplyError, AnswererError.
    """
    if not rules:
        return ""
    fence = Fence([parameter.value or "", new])
    parts = [
        sentence("labels", "check_rules") + "\n" + "\n".join(f"- {rule}" for rule in rules),
        sentence("labels", "check_before"),
        fence.wrap("before", parameter.value or "", role=parameter.role),
        sentence("labels", "check_text"),
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
        raise Malformed(sentence("problems", "no_problem"))
    return str(reply["problem"]).strip()
