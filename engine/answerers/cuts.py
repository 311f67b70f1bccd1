"""Whether an endpoint read the whole prompt: some cut what exceeds their window, and say nothing.

The only sign is how many tokens they counted. Tokens are counted here by what no tokenizer goes
below: a word is a token at least, and so are three Chinese characters.
"""

from __future__ import annotations

import re

from ...schemas.completions import Completion, CompletionRequest
from .traits import Traits

CUT = (
    "The endpoint counted {counted:,} tokens of a prompt of at least {sent:,}: it seems to have "
    "cut the prompt and to have read only a part. Give the model a larger window (Ollama: "
    "OLLAMA_CONTEXT_LENGTH or num_ctx; llama.cpp: --ctx-size), or set prompt_budget here to half "
    "of its window."
)
_SMALLEST = 256
"""A window is larger than this: who counts fewer tokens counts something else."""
_FAR = 2
_WIDE = r"\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_PIECE = re.compile(rf"[{_WIDE}]{{1,3}}|\d{{1,3}}|[^\W\d_{_WIDE}]{{1,12}}")
"""What one token may hold at most. Signs are not counted: they may go with a word."""


def least_tokens(text: str) -> int:
    """The tokens of `text`, as few as any usual tokenizer could make of it."""
    return len(_PIECE.findall(text))


def notes(request: CompletionRequest, completion: Completion, traits: Traits) -> tuple[str, ...]:
    """A note where the endpoint seems to have cut the prompt; once for a model at an endpoint, so
    empty from then on."""
    counted = completion.usage.prompt_tokens + completion.usage.cached_tokens
    if counted < _SMALLEST or 2 * counted >= sum(len(m.content) for m in request.messages):
        return ()
    sent = sum(least_tokens(m.content) for m in request.messages)
    if not _is_cut(counted, sent, traits):
        return ()
    return traits.once("cut", CUT.format(counted=counted, sent=sent))


def _is_cut(counted: int, sent: int, traits: Traits) -> bool:
    """Far fewer than were sent; or fewer, and a window's size, or the same for another prompt."""
    if counted >= sent:
        return False
    if counted * _FAR < sent or counted % 1024 == 0:
        return True
    return traits.counts.setdefault(counted, sent) != sent
