"""Passages of texts that a reader has seen already, replaced by where they stand."""

from __future__ import annotations

from collections.abc import Sequence

LONG = 100
"""Characters from which a passage is worth a reference to where it stood already."""
FORM = "Reply as JSON"
"""How the line begins that tells the form of a reply: it stands in every prompt."""
SHOWN = 20
"""Characters of such a passage that the reference shows."""
LABEL = 40
"""Most characters of a label (`Question: `) before a passage that was known before the page."""
Spot = tuple[str, int]
"""A text's name, and a line of it."""


class Passages:
    """Texts that a reader has seen, and where each of their lines stood first.

    `referred` says whether any text was shortened to refer to one that was added.
    """

    def __init__(self) -> None:
        self._whole: dict[str, str] = {}
        self._texts: dict[str, list[str]] = {}
        self._first: dict[str, Spot] = {}
        self._added: set[str] = set()
        self.referred = False

    def add(self, place: str, text: str) -> None:
        """Remember a text that was shown before. Of equal texts and lines the first stands for
        all."""
        self._added.add(place)
        self.keep(place, text)

    def keep(self, place: str, text: str) -> None:
        """Remember a text that is shown whole."""
        self._whole.setdefault(text, place)
        lines = self._texts.setdefault(place, [])
        for line in text.split("\n"):
            self._first.setdefault(line, (place, len(lines)))
            lines.append(line)

    def shortened(self, text: str, place: str) -> str:
        """`text`, to be shown as `place`, with each long passage that is known, word for word,
        replaced by where it stands; it is known from then on."""
        if (whole := self._whole.get(text)) and len(text) > LONG:
            self.referred |= whole in self._added
            return f"[as {whole}]"
        lines, out, n = text.split("\n"), list[str](), 0
        self._texts[place] = lines
        while n < len(lines):
            count, shown = self._shown(lines, n, place)
            out.append(shown)
            for k in range(n, n + count):
                self._first.setdefault(lines[k], (place, k))
            n += count
        self._whole.setdefault(text, place)
        return "\n".join(out)

    def _shown(self, lines: list[str], n: int, own: str) -> tuple[int, str]:
        """How many lines from the `n`th on are shown next, and as what. Of what stands above in the
        same text, only long lines are referred to: they are found again at a glance."""
        label, colon, rest = lines[n].partition(": ")
        for head, first in (("", lines[n]), (label + colon, rest)):
            place, at = self._first.get(first, ("", 0))
            if head and (len(head) > LABEL or place not in self._added):
                break
            most = len(lines) if place != own else n - at if len(first) > LONG else 0
            count = self._alike(lines, n, place, at, most)
            size = len(first) + sum(map(len, lines[n + 1 : n + count])) + count - 1
            if count and size > LONG:
                self.referred |= place in self._added
                begins = _beginning([first, *lines[n + 1 : n + count]])
                where = "above" if place == own else f"in {place}"
                return count, f"{head}[{size} characters as {where}: {begins}]"
        return 1, lines[n]

    def _alike(self, lines: list[str], n: int, place: str, at: int, most: int) -> int:
        """How many lines from the `n`th on stand at `place` from `at` on, `most` at most; of the
        first it is known."""
        there = self._texts.get(place, [])
        most = min(most, len(there) - at, len(lines) - n)
        count = min(most, 1)
        while 0 < count < most and there[at + count] == lines[n + count]:
            if lines[n + count].startswith(FORM):
                break
            count += 1
        return count


def _beginning(passage: Sequence[str]) -> str:
    """What a passage is recognised by: its first line, and if that is short, the next as well."""
    said = " ".join(line for line in passage[:4] if line.strip())
    return said if len(said) <= SHOWN else f"{said[:SHOWN]}…"
