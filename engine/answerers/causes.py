"""What a refusal is about, by the words and codes of whoever refuses.

What can be sent otherwise is (a reply format, a system role); what is said of one prompt alone does
not stop the others.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from .bodies import Said


class Cause(Enum):
    """What in a request an endpoint will not have."""

    FORMAT = auto()
    """The reply format, which can be plainer."""
    ROLES = auto()
    """The system message, which can stand in the user's."""
    JSON = auto()
    """Not the request: the endpoint checks the model's JSON itself, and it was bad."""
    TOO_LONG = auto()
    """This prompt is longer than the model's context."""
    FILTERED = auto()
    """This prompt, or the reply to it, met a filter of contents."""
    QUOTA = auto()
    """Nothing is left to spend."""
    ADDRESS = auto()
    """There is no such endpoint at this address."""
    ENDING = auto()
    """Not the request: the reply ended for a reason that nobody knows here."""


PROMPT = frozenset({Cause.TOO_LONG, Cause.FILTERED})
"""What is said of one prompt alone: another may be answered."""
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_REFUSED = frozenset({400, 404, 415, 422, 500, 501})
"""The statuses with which requests are refused for what is in them."""

_FORMAT = re.compile(
    r"format|schema|json|grammar|gbnf|structured|guided|outlines|guidance|constrain|mime.?type"
    r"|generation.?config|requested parameters"
)
_JSON = re.compile(
    r"json_validate_failed|failed_generation|output_parse_failed"
    r"|(?:did not|didn't) (?:generate|produce|return|write) (?:a )?valid json"
    r"|(?:failed|unable|could not|cannot) (?:to )?(?:generate|produce|parse|validate)[^.]{0,40}json"
    r"|(?:model|generated|generation|output|completion)\b[^.]{0,60}"
    r"(?:not (?:valid|match|conform)|invalid json|match the)[^.]{0,40}(?:json|schema)"
)
_ROLES = re.compile(
    r"system[ _-]?(?:role|message|prompt|instruction|turn)|developer (?:instruction|message|role)"
    r"|[\"'`“]system[\"'`”]|roles? must|alternate between|messages[\W\d]{1,6}role"
    r"|user (?:message|turn) first|first message|start with (?:a )?user"
    r"|only (?:supports? )?.{0,20}user.{0,30}(?:assistant|model)"
    r"|(?:unexpected|invalid|unsupported|unknown|incorrect) role"
    r"|role.{0,60}(?:system|not supported|not allowed|invalid|unsupported|must be)"
    r"|(?:support|allow|accept|支持)[a-z]*.{0,40}(?<![a-z])system(?![a-z])"
    r"|(?<![a-z])system(?![a-z]).{0,40}(?:support|allow|accept|enabled|permitted|支持)"
)
_TOO_LONG = re.compile(
    r"context.?(?:length|size|window)|maximum context|exceed_context|context_length|context the"
    r"|(?:prompt|input|message|request|text|content|conversation)s?(?: \w+){0,3} (?:is|are) too "
    r"(?:long|large|big)|too many (?:input |prompt )?tokens|(?:request|payload|entity) too large"
    r"|reduce (?:the|your) (?:length|prompt|input|message)|input (?:token count|length|tokens)"
    r"|token.{0,20}(?:limit|exceed)|exceed.{0,40}(?:token|context|length)|string_above_max_length"
    r"|longer than (?:the )?(?:model|max|context)|max_(?:model|seq|input)_?(?:len|tokens)|n_ctx"
    r"|num_ctx|上下文|过长|超过.{0,20}(?:长度|token)"
)
_REPLY_LENGTH = re.compile(r"max_(?:completion_|output_)?tokens.{0,80}(?:completion|output) tokens")
_FILTERED = re.compile(
    r"content.{0,3}(?:filter|polic|management|moderat|safety|violat|exists risk|risk)"
    r"|responsibleai|data.?inspection|inappropriate|(?<!case)(?<!case.)sensitive|moderation"
    r"|flagged|safety.{0,20}(?:system|filter|polic|setting|reason|check)|usage polic|acceptable use"
    r"|prohibited|jailbreak|guardrail|harmful|invalid_prompt|cyber_policy|unsafe|敏感|违规|不安全"
)
_ADDRESS = re.compile(
    r"unexpected endpoint|(?:unknown|no such|invalid|unrecognized|unsupported) "
    r"(?:endpoint|path|route|url|method)|cannot post|no route|"
    r"(?:endpoint|path|route|page|url).{0,60}not found"
)


def cause_of(status: int, said: Said) -> Cause | None:
    """What a status with these words is about, or None where that is not clear."""
    words = said.all
    if (status == 429 and said.codes & _QUOTA) or status == 402:
        return Cause.QUOTA
    if status == 413 or (status in _REFUSED and _is_too_long(words)):
        return Cause.TOO_LONG
    if (status in _REFUSED or status in (403, 451)) and status < 500 and _FILTERED.search(words):
        return Cause.FILTERED
    if status not in _REFUSED:
        return None
    if _JSON.search(words) or said.generation:
        return Cause.JSON
    if _ROLES.search(words):
        return Cause.ROLES
    if status == 404 and _ADDRESS.search(words):
        return Cause.ADDRESS
    return Cause.FORMAT if _FORMAT.search(words) else None


def status_within(said: Said) -> int:
    """The status that an error which came as a success should have had."""
    if said.status is not None:
        return said.status
    for words, status in _MEANT:
        if words.search(said.all):
            return status
    return 500


_MEANT = (
    (_ADDRESS, 404),
    (re.compile(r"rate.?limit|too many requests|resource_exhausted|quota"), 429),
    (re.compile(r"authenticat|(?:invalid|incorrect|missing).{0,10}api.?key"), 401),
    (re.compile(r"permission.?denied|forbidden"), 403),
    (re.compile(r"overloaded|unavailable|busy|server_error|internal"), 503),
    (re.compile(r"model.{0,40}(?:not found|does not exist|unknown)|model_not_found"), 404),
    (_FILTERED, 400),
    (_TOO_LONG, 400),
    (re.compile(r"invalid|unsupported|not support|bad.?request|unknown|missing|required"), 400),
)
"""What words mean in an error without a status, the first that fit."""


def _is_too_long(words: str) -> bool:
    alone = _REPLY_LENGTH.search(words) and "context" not in words
    return bool(_TOO_LONG.search(words)) and not alone
