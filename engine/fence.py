"""Fences: tags around values in a prompt that no text inside a value can close or imitate."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import count

NONCE_DIGITS = 6
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NAMED = re.compile(r'<([A-Za-z][\w-]*-[0-9a-f]+) name="([^"<>\n]*)">\n(.*?)\n</\1>', re.DOTALL)
_ESCAPES = {ord(c): f"&#{ord(c)};" for c in '&<>"\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029'}


class Fence:
    """The fence of one prompt: its nonce stands in no value, so only our tags carry it.

    `texts` are all the values that the prompt will hold. The nonce is a digest of them, so the
    same prompt is always the same text and hits the ledger again.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.nonce = _nonce([text.lower() for text in texts])
        self._marks: set[str] = set()

    def wrap(self, kind: str, text: str, /, **attributes: str) -> str:
        """`text` between `<kind-nonce attribute="…">` and `</kind-nonce>`, on lines of their own.

        Exactly one line break is added on each side. Attribute values are escaped like XML.
        Raises ValueError for a text that holds the nonce (it was not among the fence's texts)
        and for a kind or attribute name that cannot stand in a tag.
        """
        if self.nonce in text.lower():
            raise ValueError("the text holds the fence's nonce: give it to Fence(...) first")
        for name in (kind, *attributes):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot stand in a tag: use letters, digits, - and _")
        tag = f"{kind}-{self.nonce}"
        marks = [f'{name}="{_escaped(value)}"' for name, value in attributes.items()]
        self._marks.update(marks)
        return f"<{' '.join([tag, *marks])}>\n{text}\n</{tag}>"

    def unwrap(self, text: str) -> str:
        """`text` without this fence's own tags: models like to hand a text back as they got it.

        What is left of a tag at the start, its attributes alone, goes as well.
        """
        tag = rf"</?[A-Za-z][\w-]*-{self.nonce}(?:[^<>\n]*>)?\n?"
        text = re.sub(tag, "", text)
        marks = "|".join(map(re.escape, sorted(self._marks, key=len, reverse=True)))
        left = re.match(rf"(?:\s*(?:{marks})[ >]*)+", text) if marks else None
        return text[left.end() if left else 0 :].strip("\n")


def read_named(prompt: str) -> dict[str, str]:
    """The texts in a prompt's fences by their `name`, as they were given to `wrap`."""
    return {_unescaped(name): text for _, name, text in _NAMED.findall(prompt)}


def _unescaped(mark: str) -> str:
    return re.sub(r"&#([0-9]+);", lambda found: chr(int(found[1])), mark)


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)


def _nonce(texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    for tries in count():  # each try drops out only if a text happens to hold it
        attempt = digest.copy()
        attempt.update(tries.to_bytes(8, "big"))
        nonce = attempt.hexdigest()[:NONCE_DIGITS]
        if not any(nonce in text for text in texts):
            return nonce
    raise AssertionError("count() never ends")
