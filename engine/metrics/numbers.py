"""Numbers as people and models write them: one value where the writing is clear, else none.

Both kinds of marks (1,234.5 and 1.234,5; 1 234,5; 1'234.5; 12,34,567), signs, fractions, powers of
ten, currencies, percent and units, in LaTeX and in any script's digits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from .units import Unit, unit_at

LONGEST = 400
"""A number of more digits, or with a larger exponent of ten, is not read."""


@dataclass(frozen=True)
class Number:
    """A number in a text, from `start` to `end`.

    `value` is None where the writing is not clear (3x, 12:30, more than 5). `other` is what it
    would be if its mark meant the other thing: 1.234 can be 1234.
    """

    text: str
    start: int
    end: int
    value: Fraction | None = None
    other: Fraction | None = None
    unit: Unit | None = None


_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_CODES = r"USD|EUR|GBP|JPY|CNY|RMB|INR|CHF|RUB|Rs"
_REWRITES = [
    (re.compile(pattern), becomes)
    for pattern, becomes in (
        (r"(?<=\d)(?=\\[dtc]?frac)", " "),
        (r"\\[dtc]?frac\s*(\d)\s*(\d)", r"\1/\2"),
        (r"\\[dtc]?frac\s*\{\s*(-?\d[\d.,]*)\s*\}\s*\{\s*(\d[\d.,]*)\s*\}", r"\1/\2"),
        (r"\\[dtc]?frac\b\s*(?:\{[^{}]*\}\s*\{[^{}]*\})?", " 1√ "),
        (r"\\(?:text|mathrm|textbf|mathbf|mbox|operatorname|bm)\s*\{([^{}]*)\}", r" \1 "),
        (r"\{,\}", ","),
        (r"\\!", ""),
        (r"\\sqrt\b", "√"),
        (r"\\pi\b", "π"),
        (r"\\(?:times|cdot)\b", "×"),
        (r"\\pm\b", "±"),
        (r"\\(?:approx|simeq)\b", "≈"),
        (r"\\(?:leq?|lt)\b", "≤"),
        (r"\\(?:geq?|gt)\b", "≥"),
        (r"\^?\s*\{?\\(?:circ|degree)\b\}?", "°"),
        (r"\^\s*\{\s*([-+]?\d+)\s*\}", r"^\1"),
        (r"\\(?:left|right|displaystyle|quad|qquad)\b|\\[,;: ()\[\]]", " "),
        (r"\\([%$#&])", r"\1"),
        (r"(?<=\d)~(?!\d)", " "),
        (r"\$(?=\S)([^$\n]*[^$\s])\$(?!\d)", r"\1"),  # mathematics, not dollars
        (
            r"(?<!\d)\*\*|\*\*(?!\d)|__|`|(?<![\w*])[*_](?=\S)|(?<=\S)[*_](?![\w*])|</?[a-zA-Z][^<>\n]{0,80}>",
            "",
        ),
        (r"(?m)^\s*>+\s", ""),
        (r"[-=]+>", "→"),
        (r"(?<=[=≈→])\s*-\s+(?=[\d$.])", " -"),
        (rf"\b({_CODES})(?=\d)", r"\1 "),
    )
]
_CHARACTERS = {
    **dict.fromkeys("−﹣－‐‑‒–", "-"),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("’ʼ", "'"),
    **{"٫": ".", "٬": "'", "٪": "%"},  # an apostrophe only groups
}


def tidy(text: str) -> str:
    """`text` with its digits, signs, fractions and mathematical marks written in one way."""
    text = _SUPERSCRIPTS.sub(lambda m: "^" + unicodedata.normalize("NFKC", m[0]), text)
    text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text))
    if not text.isascii():
        text = "".join(_character(c) for c in text)
    for pattern, becomes in _REWRITES:
        text = pattern.sub(becomes, text)
    return text


def _character(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    return _CHARACTERS.get(char, char)


_CURRENCY = r"(?:US\$|[$€£¥₹₽¢])"
_LETTER = r"[A-Za-z\u00c0-\u058f]"
_DIGITS = r"(?:\d{1,3}(?:[ ]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'_]\d+)*|(?<![\d.])\.\d+)"
_FOUND = re.compile(
    rf"""
    (?P<word>{_LETTER}\w*(?:[-.]\d+)*(?:\^[({{]?-?\d+[)}}]?)?)  # also x1, GPT-4, v1.2, r^2
    |(?P<odd>\d+(?::\d+)+|\d{{1,4}}([-/.])\d{{1,2}}\3\d{{1,4}}(?![\d.,]))  # a time, a date
    |(?P<number>
        (?P<sign>(?<![\w)\]}}%])[-+])?(?:{_CURRENCY}[ ]?(?P<sign2>[-+])?)?
        (?:(?P<whole>\d+)[ ]+(?P<part>\d+)[ ]?/[ ]?(?P<parts>\d+)(?!\d|[/.,]\d)
        |(?P<digits>{_DIGITS})
            (?:[eE](?P<e>[-+]?\d+)(?!\w)
            |[ ]?[x×·*][ ]?10[ ]?(?:\^|\*\*)[ ]?[({{]?(?P<ten>[-+]?\d+)[)}}]?
            |[ ]?(?:\^|\*\*)[ ]?[({{]?(?P<power>[-+]?\d+)[)}}]?
            |[ ]?/[ ]?(?P<under>\d+(?:[.,'_]\d+)*)(?!\d|/\d))?))
    """,
    re.VERBOSE,
)
_BEFORE = re.compile(  # what makes another thing of the number that follows
    r"(?:[\^_√±∓]|√\{|\b(?:sqrt|log|ln|exp|sin|cos|tan) ?[({]?|[<>≤≥]=? ?"
    r"|\b(?:at least|at most|(?:more|less|fewer|greater) than|up to|over|under|above|below|"
    r"mindestens|höchstens|(?:mehr|weniger) als|au moins|plus de|al menos|más de|не менее) )\Z",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(r"\b(?:minus|negative|moins|menos|meno|минус) \Z", re.IGNORECASE)
_AFTER = re.compile(
    r" ?(?:√|π|pi\b|sqrt\b)"
    r"| (?:hal(?:f|ves)|thirds?|quarters?|fifths?|(?:ten|hundred|thousand)ths?)\b"
    rf"|\^|\+(?! ?[\w$(/-])|(?!(?:st|nd|rd|th)\b){_LETTER}"
)
_TWO_WAYS = re.compile(r"[KB]\b")  # kelvin or thousand, bytes or billion
_CODE = re.compile(rf"\b({_CODES})\b\.? ?\Z", re.IGNORECASE)
_SCALES = {
    name: Fraction(size)
    for size, names in {
        12: "dozen", 100: "hundred hundreds",
        1_000: "k thousand thousands tsd tausend mil mille mila тыс тысяча тысячи тысяч 千",
        10_000: "万 萬 만", 100_000: "lakh lakhs", 10_000_000: "crore crores",
        1_000_000: "M million millions mio mln mn millionen millón millones milione milioni milhão "
        "milhões miljoen milyon млн миллион миллиона миллионов 百万",
        100_000_000: "亿 億 억",
        10**9: "bn billion billions mrd mld milliard milliards milliarde milliarden miliardo "
        "miliardi miljard milyar млрд миллиард миллиарда миллиардов",
        10**12: "trillion trillions 兆 조",
    }.items()
    for name in names.split()
}  # fmt: skip
_WITH_MONEY = {"K": Fraction(10**3), "m": Fraction(10**6), "B": Fraction(10**9)}
_SCALE = re.compile(
    r" ?(?:(?P<cjk>百万|[千万萬亿億兆만억조])|(?P<long>[^\W\d_]{2,})\b\.?)|(?P<short>[kKmMB])\b"
)


def numbers(text: str) -> Iterator[Number]:
    """The numbers of a tidy text, in order, those included whose value is not clear."""
    end = 0
    for found in _FOUND.finditer(text):
        if found["word"] or found.start() < end:
            continue
        made = _number(text, found) if found["number"] else _unclear(text, *found.span())
        if made.value is not None and not end and _NEGATIVE.search(text, 0, made.start):
            made = replace(made, value=-made.value, other=None)  # with one before, it is a sum
        end = made.end
        yield made


def _unclear(text: str, start: int, end: int) -> Number:
    return Number(text[start:end], start, end)


def _number(text: str, found: re.Match[str]) -> Number:
    start, end, before = *found.span(), text[max(0, found.start() - 40) : found.start()]
    money = re.search(_CURRENCY, found[0]) or _CODE.search(before)
    sign = "" if money is None else money[0].strip().rstrip(".")
    scale, after = _scale(text, end, money=bool(sign))
    unit, after = _unit(text, after, sign)
    readings = _readings(found)
    enclosed = text[max(0, start - 1) : start] + text[end : end + 1] in ("()", "[]", "{}")
    pair = enclosed and re.fullmatch(r"\d+,\d+", found[0])  # a point, not a decimal comma
    odd = _AFTER.match(text, end) if after == end else not sign and _TWO_WAYS.match(text, end)
    if not readings or pair or odd or _BEFORE.search(before):
        return _unclear(text, start, after)
    value, other = [*(r * scale for r in readings), None][:2]
    return Number(text[start:after].strip(), start, after, value, other, unit)


def _scale(text: str, at: int, *, money: bool) -> tuple[Fraction, int]:
    """The factor of a word such as million at `at`, and where it ends."""
    found = _SCALE.match(text, at)
    if found is not None:
        name = found["cjk"] or found["short"] or found["long"].lower()
        scale = _SCALES.get(name) or (_WITH_MONEY.get(name) if money else None)
        if scale:
            return scale, found.end()
    return Fraction(1), at


def _unit(text: str, at: int, money: str) -> tuple[Unit | None, int]:
    """The unit at `at`, or of the currency sign that stood before the number; and where it ends."""
    rest = text[at : at + 60]
    spaced = rest[:1] == " "
    unit, length = unit_at(money + rest) if money else (None, 0)
    if length > len(money):
        return unit, at + length - len(money)
    after, length = unit_at(rest[spaced:])
    return unit or after, at + length + (spaced if length else 0)


def _readings(found: re.Match[str]) -> list[Fraction]:
    """What the digits can mean, the usual reading first; nothing if they mean no number."""
    sign = -1 if "-" in (found["sign"], found["sign2"]) else 1
    if found["whole"]:
        if len(found[0]) > LONGEST:
            return []
        whole, part, parts = (int(found[n]) for n in ("whole", "part", "parts"))
        return [sign * (whole + Fraction(part, parts))] if 0 < part < parts else []
    bases = _values(found["digits"])
    if found["under"]:
        under = _values(found["under"])[:1]
        return [sign * b / u for b in bases[:1] for u in under if u]
    if found["power"]:
        power = _exponent(found["power"], len(found["digits"]))
        return [sign * b**power for b in bases[:1] if power is not None and (b or power > 0)]
    exponent = _exponent(found["e"] or found["ten"] or "0", 1)
    return [sign * b * Fraction(10) ** exponent for b in bases] if exponent is not None else []


def _exponent(text: str, digits: int) -> int | None:
    exponent = int(text) if len(text) < 10 else LONGEST + 1
    return exponent if abs(exponent) * digits <= LONGEST else None


def _values(text: str) -> list[Fraction]:
    """What digits with marks can mean: 1,234 is 1234, or else 1.234."""
    if len(text) > LONGEST:
        return []
    groups, marks = re.split(r"\D", text), re.findall(r"\D", text)
    if not marks:
        return [Fraction(text)]
    if not groups[0]:
        return [Fraction(f"0{text}")]
    whole = Fraction("".join(groups))
    if len(set(marks)) == 1 and _grouped(groups, marks[0]):
        if len(marks) > 1 or marks[0] not in ".,":
            return [whole]
        decimal = Fraction(".".join(groups))
        return [whole, decimal] if marks[0] == "," else [decimal, whole]
    head, last = marks[:-1], marks[-1]
    clear = not head or (len(set(head)) == 1 and _grouped(groups[:-1], head[0]))
    if last in ".," and last not in head and clear:
        return [Fraction("".join(groups[:-1]) + "." + groups[-1])]
    return []


def _grouped(groups: Sequence[str], mark: str) -> bool:
    """Whether these are thousands: 1,234,567, or as in India 12,34,567."""
    first, *rest = groups
    if not 1 <= len(first) <= 3 or first.startswith("0"):
        return False
    if all(len(g) == 3 for g in rest):
        return True
    indian = len(first) <= 2 and len(rest[-1]) == 3 and all(len(g) == 2 for g in rest[:-1])
    return mark == "," and indian
