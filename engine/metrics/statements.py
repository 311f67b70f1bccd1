"""Where a text states its answer: in a box, after ####, in a tag, after "answer:", and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator

HEAD, TAIL = 10_000, 40_000
"""Of a longer text so many characters at its start and at its end are looked at."""
STATEMENT = 1_000
"""So many characters of a statement are read."""

_WORDS = (
    "answers?|ans|antwort|réponse|respuesta|resposta|risposta|antwoord|svaret?|vastaus|odpowiedź|"
    "odpověď|odpoveď|odgovor|răspuns(?:ul)?|ответ|відповідь|cevap|yanıt|απάντηση|jawaban|đáp án|"
    "câu trả lời|الإجابة|الجواب|جواب|उत्तर|תשובה"
)
_NOUN = rf"(?:(?<![^\W_])(?:{_WORDS})(?!\w)|答案|回答|解答|答え|答|정답|답|คำตอบ)"
_RESULTS = (
    "result|total|sum|solution|ergebnis|lösung|résultat|resultado|risultato|результат|итого|"
    "结果|結果|合計"
)
_FINAL = r"(?:final|definitive|endgültige?|finale|définitive|окончательный|最终|最終|최종)"
_IS = (
    r"(?:[:：=→]|[是为為は가은는]|(?<!\w)(?:is|are|was|be|equals?|ist|lautet|est|es|è|é|er|är|jest|это)"
    r"(?!\w|['’]t))"
)
_SAID = rf"{_NOUN}[^\n:：=.?!]{{0,60}}?{_IS}"
_START = r"^[^\w\n]{0,20}"
_HEADING = rf"{_START}(?:the )?(?:{_FINAL}\W{{1,3}})?{_NOUN}[^\w\n]*$"
_DIRECT = (
    rf"{_START}(?:{_FINAL}\W{{1,3}})?{_NOUN}[^\w\n]{{0,3}} (?=[-\d$€£\\]|\(?[A-Z]\)?[^\w\n]*$)"
)
_CUES = [
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"(?<!\w){_FINAL}\W{{0,3}}{_SAID}",
        rf"{_SAID}|{_HEADING}|{_DIRECT}",
        rf"{_START}(?:(?:{_RESULTS})[^\w\n]{{0,3}}[:：=]|A:(?= ?[-+$€£\\]?\d))",
    )
]
_CLOSING = re.compile(
    r"\b(?:is|as) (?:the|my) (?:final |correct |right |best )?answer\b", re.IGNORECASE
)
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*")
_HASHES = re.compile(  # not the headings "#### Step 1" and "#### 1. Add"
    r"####(?![ \t]*\d+[.):]\s+\S)(?=[^\w\n]{0,5}(?:\d|\\|[^\W\d_]\b|[¼-¾⅐-⅞]))([^\n]*)"
)
_TAG = re.compile(r"<(final[_ -]?)?answer>([^<]{0,1000})", re.IGNORECASE)
_TURN = re.compile(
    _START + r"(?:next )?(?:question|q|problem|exercise|human|user|frage|pregunta|pergunta|domanda|"
    r"вопрос|задача|问题|問題|문제)[ \t]{0,3}\d*[ \t]{0,3}[:：.](?!\d)|<\|[^|>\n]{1,40}\|>",
    re.IGNORECASE | re.MULTILINE,
)
_ASIDE = re.compile(
    _START
    + r"(?:(?:confidence|certainty)\b|(?:probability|score|note|explanation|reasoning|rationale|"
    r"reason|justification|check|verification|source|sources|references?|begründung|hinweis)"
    r"[^\w\n]{0,3}[:：])",
    re.IGNORECASE,
)


def statements(text: str, other: re.Pattern[str] | None = None) -> Iterator[str]:
    """What `text` states as its answer, the most trusted statement first. There may be none.

    The last box, the first line after ####, the last tag, then what follows "final answer:",
    "answer is" (in many languages), "result:" and before "is the answer", each the last time first.
    Where `other` is in the words that announce it (answer B is), something else is stated.
    """
    text = own_words(text)
    boxes = _boxes(text)
    if boxes:
        yield _joined(text, boxes)
    yield from (found[1] for found in _HASHES.finditer(text))
    yield from (found[2] for found in reversed([*_TAG.finditer(text)]))
    for cue in _CUES:
        for found in reversed([*cue.finditer(text)]):
            said = _line_from(text, found.end())
            if said and not (other and other.search(found[0])):
                yield said
    for found in reversed([*_CLOSING.finditer(text)]):
        yield re.split(r"[\n.!?]", text[max(0, found.start() - 80) : found.start()])[-1]


def own_words(text: str) -> str:
    """`text`, shortened in its middle if very long, up to where it runs on to another question."""
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    starts = [m.end() for p in (_BOX, _HASHES, *_CUES) if (m := p.search(text))]
    turn = _TURN.search(text, min(starts)) if starts else None
    return text[: turn.start()] if turn else text


def lines(text: str) -> list[str]:
    """The lines of `text` that say something, without those on confidence, reasons and the like.

    These stay where nothing else is said.
    """
    every = [line for line in own_words(text).splitlines() if re.search(r"\w", line)]
    return [line for line in every if not _ASIDE.match(line)] or every


def _line_from(text: str, at: int) -> str:
    """The rest of the line, or the next line that says something."""
    for line in text[at : at + STATEMENT].splitlines():
        if re.search(r"\w", line):
            return line
    return ""


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Where boxes are, and what they hold; braces may nest."""
    found, at = [], 0
    while start := _BOX.search(text, at):
        at = start.end()
        if text[at : at + 1] != "{":
            digit = text[at : at + 1]  # as TeX reads it
            found += [(start.start(), at + 1, digit)] if digit.isalnum() else []
            continue
        depth, end = 0, at
        for end in range(at, min(len(text), at + STATEMENT)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
        found.append((start.start(), end + 1, text[at + 1 : end]))
        at = end + 1
    return found


def _joined(text: str, boxes: list[tuple[int, int, str]]) -> str:
    """What the last box holds, and the one before if both are given as the answer."""
    *_, last = boxes
    if len(boxes) > 1:
        *_, (_, end, before), _ = boxes
        between = text[end : last[0]].strip(" $.")
        if re.fullmatch(r"\W*|(?:and|or|und|oder|et|ou|y|o)", between) and "\n" not in between:
            return f"{before} or {last[2]}"
    return last[2]
