"""A reply of a reasoning model: what it thought, and what it answered.

Where no parser at the endpoint takes the thoughts apart they stand at the start of the text, in the
tags of whoever made the model, sometimes with the first tag left to the prompt. Tags elsewhere, and
those that the prompt asks for, are part of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..schemas.completions import Completion, CompletionRequest, Purpose

_NAME = r"(?:[a-z0-9]+[:_-])?(?:think|thinking|thoughts?|reasoning)"
_OPEN = re.compile(
    r"\s*(?:<\|start_(?P<cohere>thinking)\|>|<\|begin_of_(?P<sky>thought)\|>"
    r"|<\|inner_(?P<inner>prefix)\|>|<\|channel>(?P<gemma>thought)\b|◁(?P<kimi>think)▷"
    rf"|\[(?P<square>THINK|THINKING)\]|<\s*\|?(?P<tag>{_NAME})\|?(?:\s[^<>\n]*)?>)",
    re.IGNORECASE,
)
_CLOSE = {
    "tag": r"<\s*\|?\s*/\s*\|?{name}\s*\|?>",
    "square": r"\[/{name}\]",
    "cohere": r"<\|end_thinking\|>",
    "sky": r"<\|end_of_thought\|>",
    "inner": r"<\|inner_suffix\|>",
    "gemma": r"<channel\|>",
    "kimi": "◁/think▷",
}
_EITHER = re.compile(
    rf"(?P<open><\s*{_NAME}\s*>|\[THINK\]|◁think▷)"
    rf"|(?P<close><\s*/\s*{_NAME}\s*>|\[/THINK\]|◁/think▷|<\|end_thinking\|>|<\|end_of_thought\|>)",
    re.IGNORECASE,
)
_ENDED = tuple(".!?…。！？:;)]}*\n")  # noqa: RUF001
_QUOTES = tuple("`'\"“”‘’«»")  # noqa: RUF001
_SPOKEN = re.compile(
    r"\s*Here(?:'s| is) my thought process:(.*?)\n\s*Here(?:'s| is) my response:(.*)", re.DOTALL
)
_CHANNEL = re.compile(
    r"(?:<\|start\|>\w*)?<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_FINAL = "<|channel|>final"
_BARE = re.compile(r"\s*(?:analysis|commentary)(?=[^\sa-z])(.*)assistant\s*final(.*)", re.DOTALL)
_WRAPPED = re.compile(
    r"\s*(?:<(?P<tag>answer|response)>(?P<in>.*)</(?P=tag)>"
    r"|<\|(?:begin_of_solution|START_RESPONSE)\|>(?P<of>.*?)"
    r"(?:<\|(?:end_of_solution|END_RESPONSE)\|>)?)\s*",
    re.DOTALL,
)
_GAP = re.compile(r"\s*\n|[ \t]+|")
_LOOKED_AT = 8
"""Of so many tags, the last ones, it is looked whether they end thoughts."""
_ASKED = re.compile(
    rf"<\s*/?\s*({_NAME}|answer|response)\s*>|\[/?(THINK)\]|\b(think)(?:ing)?[ -]tags?\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?\n]+")
_NOT = re.compile(
    r"\b(?:no|not|never|without|don't|avoid|omit|remove|strip|skip|nor|instead)\b", re.IGNORECASE
)


KEEP: frozenset[str] = frozenset()
"""No tags."""


@dataclass(frozen=True)
class Parts:
    """A reply taken apart. Where the thoughts have no end there is no `answer`."""

    thoughts: str
    answer: str


def apart(completion: Completion, request: CompletionRequest) -> Completion:
    """`completion` with the thoughts in its text moved to its `reasoning`.

    What a program outside prints has none. Tags that a prompt of the user's program asks for stay.
    """
    parts = parted(completion.text)
    if parts.answer != completion.text and request.purpose is Purpose.FORWARD:
        parts = parted(completion.text, asked_for(m.content for m in request.messages))
    if parts.answer == completion.text or request.purpose is Purpose.EXTERNAL:
        return completion
    thoughts = _joined([completion.reasoning, parts.thoughts])
    return completion.model_copy(update={"text": parts.answer, "reasoning": thoughts})


def asked_for(prompts: Iterable[str]) -> frozenset[str]:
    """The tags that `prompts` want in the answer, in small letters; not those they forbid."""
    found: set[str] = set()
    for prompt in prompts:
        if "<" not in prompt and "[" not in prompt and "tag" not in prompt:
            continue
        for sentence in _SENTENCE.split(prompt):
            if not _NOT.search(sentence):
                named = [next(filter(None, m.groups())) for m in _ASKED.finditer(sentence)]
                found.update(name.lower() for name in named)
    return frozenset(found)


def parted(text: str, keep: frozenset[str] = KEEP) -> Parts:
    """What stands at the start of `text` as thoughts, and the answer after it.

    A text without thoughts is the answer, to the last space. Tags in `keep` belong to the answer.
    """
    found = _channels(text) or _spoken(text)
    if found is not None:
        return found
    thoughts: list[str] = []
    at = 0
    while (opened := _OPEN.match(text, at)) and _tag(opened) not in keep:
        closed = re.compile(_closing(opened), re.IGNORECASE).search(text, opened.end())
        if closed is None:
            return _endless(thoughts, text, opened.end())
        thoughts.append(text[opened.end() : closed.start()])
        at = _after_gap(text, closed.end())
    end = None if keep else _end_alone(text[at:])
    if end is not None:
        thoughts.append(text[at : at + end.start()])
        at = _after_gap(text, at + end.end())
    if at == 0:
        return Parts("", text)
    return Parts(_joined(thoughts), _unwrapped(text[at:], keep))


def _tag(opened: re.Match[str]) -> str:
    return str(opened[opened.lastgroup or 0]).lower()


def _closing(opened: re.Match[str]) -> str:
    kind = opened.lastgroup or "tag"
    return _CLOSE[kind].format(name=re.escape(opened[kind]))


def _endless(thoughts: list[str], text: str, at: int) -> Parts:
    if not thoughts and not text[at:].strip():
        return Parts("", text)  # the tag alone: it may be the answer to a question about tags
    return Parts(_joined([*thoughts, text[at:]]), "")


def _end_alone(text: str) -> re.Match[str] | None:
    """The last tag that ends thoughts whose beginning stood in the prompt."""
    if text.lstrip()[:3].startswith(("{", "```")):
        return None
    depth, alone = 0, []
    for mark in _EITHER.finditer(text):
        if mark["open"]:
            depth += 1
        elif depth:
            depth -= 1
        else:
            alone.append(mark)
    return next((m for m in alone[: -_LOOKED_AT - 1 : -1] if _ends_thoughts(text, m)), None)


def _ends_thoughts(text: str, mark: re.Match[str]) -> bool:
    """Whether a closing tag does close something, and is not what the sentence talks about."""
    before, after = text[: mark.start()], text[mark.end() : mark.end() + 1]
    if before.count("```") % 2 or before.endswith(_QUOTES) or after.startswith(_QUOTES):
        return False
    bare = before.rstrip(" \t")
    return not bare or before == bare or bare.endswith(_ENDED)


def _channels(text: str) -> Parts | None:
    """OpenAI's harmony format, with its marks or with what is left of them without."""
    bare = _BARE.fullmatch(text)
    if bare:
        return Parts(bare[1].strip(), _trimmed(bare[2]))
    marks = list(_CHANNEL.finditer(text))
    if not marks or (text[: marks[0].start()].strip() and _FINAL not in text):
        return None
    thoughts, answer = [text[: marks[0].start()]], ""
    if thoughts[0].strip() and not _CHANNEL_END.search(thoughts[0]):
        return None  # words about the format
    for mark, following in zip(marks, [m.start() for m in marks[1:]] + [len(text)], strict=True):
        ended = _CHANNEL_END.search(text, mark.end(), following)
        said = text[mark.end() : ended.start() if ended else following]
        if mark["name"] == "final":
            answer = said
        else:
            thoughts.append(said)
    return Parts(_joined(thoughts), _trimmed(answer))


def _spoken(text: str) -> Parts | None:
    found = _SPOKEN.fullmatch(text)
    return Parts(found[1].strip(), _trimmed(found[2])) if found else None


def _unwrapped(answer: str, keep: frozenset[str]) -> str:
    """An answer without the tags that some models put around it after their thoughts."""
    found = _WRAPPED.fullmatch(answer)
    if found is None or (found["tag"] or "") in keep:
        return answer
    return _trimmed(found["in"] if found["tag"] else found["of"]).rstrip()


def _trimmed(answer: str) -> str:
    return answer[_after_gap(answer, 0) :]


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _joined(thoughts: list[str]) -> str:
    return "\n\n".join(piece for piece in map(str.strip, thoughts) if piece)
