"""Replies that hold feedback and a score, for the kinds judge, feedback and evaluator."""

from __future__ import annotations

from typing import Any

from ....schemas.completions import Completion
from ....schemas.graph import Value
from ...prompts import sentence
from ...replies.reply import Malformed, object_schema, parse_object

FEEDBACK_REPLY = object_schema(
    {"feedback": {"type": "string"}, "score": {"type": ["number", "null"]}}
)
CRITIQUE_REPLY = object_schema({"feedback": {"type": "string"}})
GRADED_REPLY = object_schema({"feedback": {"type": "string"}, "score": {"type": "number"}})


def read_critique(completion: Completion, schema: dict[str, Any], material: str) -> Value:
    """Feedback and score out of a reply to a prompt that shows `material`.

    Raises Malformed, also for a score outside 0 to 1.
    """
    reply = parse_object(completion.text, schema, material=material)
    score = reply.get("score")
    if score is not None and not 0 <= score <= 1:
        raise Malformed(sentence("problems", "score", score=str(score)))
    return Value(text=reply["feedback"].strip(), score=score)
