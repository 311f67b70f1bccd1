"""What is learnt of an endpoint and its model from what it refuses, for all who call it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...schemas.completions import CompletionRequest, Message
from ...schemas.settings import ReplyFormat
from .causes import Cause
from .wire import FORMATS

FOLDS = "The model knows no system role: system texts are sent at the start of the user's message."
ODD_END = (
    "The endpoint ends its replies with the finish reason {reason!r}, which is not known here: "
    "their texts are taken as whole."
)


@dataclass
class Traits:
    """What holds for every call to one model at one endpoint, as far as it is known.

    `refused` are the reply formats that a plainer one worked without, `folds` whether a system text
    must stand in the user's message, `ends` the unknown finish reasons of whole replies, `counts`
    the tokens counted of prompts that must have had more, `told` the notes that were given.
    """

    refused: set[ReplyFormat] = field(default_factory=set)
    folds: bool = False
    ends: set[str] = field(default_factory=set)
    counts: dict[int, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def form(self, wanted: ReplyFormat) -> ReplyFormat:
        """The strictest format from `wanted` on that was not refused."""
        left = FORMATS[FORMATS.index(wanted) :]
        return next((form for form in left if form not in self.refused), FORMATS[-1])

    def once(self, topic: str, words: str) -> tuple[str, ...]:
        """`words`, if this is the first note on the `topic`; else nothing."""
        if topic in self.told:
            return ()
        self.told.add(topic)
        return (words,)


class Course:
    """How one call is sent, and what becomes of that when it is refused.

    `failures` counts the attempts that failed for other reasons than how the call was sent.
    """

    def __init__(self, traits: Traits, wanted: ReplyFormat, request: CompletionRequest) -> None:
        self._traits = traits
        self._system = request.system is not None
        self.form: ReplyFormat = "text" if request.reply is None else traits.form(wanted)
        self.folds = traits.folds and self._system
        self.failures = 0
        self._asked_again: set[Cause] = set()
        self._given_up: list[ReplyFormat] = []
        self._odd_ends: set[str] = set()

    def changes(self, cause: Cause | None, status: int, *, last: bool) -> bool:
        """Whether the call is to be sent again at once, in another way; `last` says that else it
        would end."""
        if cause in (Cause.JSON, Cause.ENDING) and cause not in self._asked_again:
            self._asked_again.add(cause)
            return True
        if cause is Cause.ROLES and self._system and not self.folds:
            self.folds = True
            return True
        if cause in (Cause.FORMAT, Cause.JSON) and self.form != "text":
            self._plainer(FORMATS[FORMATS.index(self.form) + 1])
            return True
        unclear = cause is None and (status in (400, 422) or (status == 500 and last))
        if (unclear or cause is Cause.ROLES) and self.form != "text":
            self._plainer("text")
            return True
        return False

    def _plainer(self, form: ReplyFormat) -> None:
        self._given_up += FORMATS[FORMATS.index(self.form) : FORMATS.index(form)]
        self.form = form

    def is_whole(self, reason: str) -> bool:
        """Whether a text that ended for an unknown `reason` counts as whole: where the same reason
        comes again, it is this endpoint's word for the end."""
        if reason in self._odd_ends:
            self._traits.ends.add(reason)
        self._odd_ends.add(reason)
        return reason in self._traits.ends

    def worked(self) -> tuple[str, ...]:
        """Keep what this call has found out; notes on it."""
        traits = self._traits
        traits.refused.update(self._given_up)
        notes: list[str] = []
        if self.folds:
            traits.folds = True
            notes += traits.once("folds", FOLDS)
        for reason in self._odd_ends & traits.ends:
            notes += traits.once(f"end {reason}", ODD_END.format(reason=reason))
        return tuple(notes)


def folded(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """`messages` with system texts at the start of what the user says, and the roles in turns."""
    found: list[Message] = []
    for message in messages:
        role = "user" if message.role == "system" else message.role
        if found and found[-1].role == role:
            last = found.pop()
            texts = [text for text in (last.content, message.content) if text]
            images = (*last.images, *message.images)
            found.append(Message(role=role, content="\n\n".join(texts), images=images))
        else:
            found.append(Message(role=role, content=message.content, images=message.images))
    return tuple(found)
