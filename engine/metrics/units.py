"""Units: which are the same, which can be turned into each other, and which cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

_SIZES = {
    "length": "m=1 metre=1 meter=1 kilometre=1000 kilometer=1000 centimetre=.01 centimeter=.01 "
    "millimetre=.001 millimeter=.001 inch=.0254 inche=.0254 ft=.3048 foot=.3048 feet=.3048 "
    "yd=.9144 yard=.9144 mile=1609.344",
    "mass": "g=1 gram=1 gramme=1 kilogram=1000 kilo=1000 milligram=.001 tonne=1000000 "
    "lb=453.59237 oz=28.349523125 ounce=28.349523125",
    "time": "s=1 sec=1 second=1 min=60 minute=60 h=3600 hr=3600 hour=3600 day=86400 week=604800",
    "months": "month=1 year=12",
    "volume": "l=1 L=1 liter=1 litre=1 milliliter=.001 millilitre=.001",
    "energy": "J=1 joule=1 Wh=3600 cal=4.184",
    "data": "B=1 byte=1 KB=1000 KiB=1024 MiB=1048576 GiB=1073741824",
    "power": "W=1 watt=1",
    "voltage": "V=1 volt=1",
    "current": "A=1 ampere=1 amp=1",
    "force": "N=1 newton=1",
    "frequency": "Hz=1 hertz=1",
    "pressure": "Pa=1 pascal=1 bar=100000",
    "amount": "mol=1 mole=1",
    "celsius": "°C=1 celsius=1",
    "fahrenheit": "°F=1 fahrenheit=1",
    "percent": "%=1 ‰=.1 percent=1 pct=1 percentage=1 prozent=1 procent=1 percento=1 процент=1",
    "dollars": "$=1 US$=1 USD=1 dollar=1 ¢=.01 cent=.01",
    "euros": "€=1 EUR=1 euro=1",
    "pounds": "£=1 GBP=1",
    "pound": "pound=1",
    "yen": "¥=1 JPY=1 yen=1 CNY=1 RMB=1 yuan=1 元=1 円=1",
    "rupees": "₹=1 Rs=1 INR=1 rupee=1",
    "francs": "CHF=1 franc=1 franken=1",
    "roubles": "₽=1 RUB=1 rouble=1 ruble=1",
}
_TABLE = {
    name: (kind, Fraction(size))
    for kind, sizes in _SIZES.items()
    for name, _, size in (one.partition("=") for one in sizes.split())
}
_PREFIXES = {
    "n": -9,
    "µ": -6,
    "\u03bc": -6,
    "m": -3,
    "c": -2,
    "d": -1,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
}
_PREFIXED = frozenset("m g s l L J W V A N Hz Pa Wh mol B cal $ € £".split())  # noqa: SIM905
_LITRE = Fraction(1, 1000)  # of a cubic metre
_PART = re.compile(
    r"(?:(?P<power>square|sq\.?|cubic|cu\.?) )?"
    r"(?P<name>US\$|[kM]?[$€£¥₹₽¢%‰元円]|°[CF](?!\w)|[^\W\d_]+)(?:\^?(?P<exponent>[1-9])(?!\d))?"
)
_TWO_WORDS = re.compile(
    r"(?i:(?P<percent>per cent|pour cent|por ciento|por cento)"
    r"|(?:degrees?|deg\.?|°) ?(?P<scale>[cf])(?:elsius|ahrenheit)?)(?!\w)"
)
_TIMES, _PER = re.compile(r" ?[·*] ?"), re.compile(r" ?/ ?| (?:per|pro|an?) ")


@dataclass(frozen=True)
class Amount:
    """Kinds of units with their exponents, and the size of one of them."""

    kinds: frozenset[tuple[str, int]] = frozenset()
    size: Fraction = Fraction(1)


@dataclass(frozen=True)
class Unit:
    """What is counted, `above` the line and `below` it: metres per second."""

    above: Amount
    below: Amount = Amount()

    def in_terms_of(self, other: Unit) -> Fraction | None:
        """How many of `other` one of these is; None if that cannot be. What only one of them says
        does not count: dollars are dollars per hour."""
        factor = Fraction(1)
        above = _pounds(self.above, other.above), _pounds(other.above, self.above)
        for mine, its, over in ((*above, 1), (self.below, other.below, -1)):
            if mine.kinds and its.kinds:
                if mine.kinds != its.kinds:
                    return None
                factor *= (mine.size / its.size) ** over
        return factor


def _pounds(one: Amount, other: Amount) -> Amount:
    """What the word pound means beside the `other` amount: money, or weight."""
    if one.kinds != _POUND or other.kinds not in _POUNDS:
        return one
    return Amount(other.kinds, one.size * _POUNDS[other.kinds])


_POUND = frozenset({("pound", 1)})
_POUNDS = {frozenset({("pounds", 1)}): Fraction(1), frozenset({("mass", 1)}): _TABLE["lb"][1]}


def unit_at(text: str) -> tuple[Unit | None, int]:
    """The unit that `text` begins with, and where it ends; None and 0 if there is none we know."""
    if found := _TWO_WORDS.match(text):
        name = "%" if found["percent"] else "°" + found["scale"].upper()
        return Unit(_amount([(*_TABLE[name], 1)])), found.end()
    above, end = _parts(text, 0)
    if not above:
        return None, 0
    per = _PER.match(text, end)
    below, after = _parts(text, per.end()) if per else ([], end)
    return Unit(_amount(above), _amount(below)), after if below else end


_Factor = tuple[str, Fraction, int]


def _parts(text: str, at: int) -> tuple[list[_Factor], int]:
    """The units from `at` on that are multiplied with each other, and where they end."""
    parts: list[_Factor] = []
    end = at
    while (found := _PART.match(text, at)) and (known := _known(found["name"])):
        power = {"s": 2, "c": 3}.get((found["power"] or " ")[0], 1)
        parts.append((*known, int(found["exponent"] or power)))
        end = found.end()
        times = _TIMES.match(text, end)
        if times is None:
            break
        at = times.end()
    return parts, end


def _amount(parts: Sequence[_Factor]) -> Amount:
    kinds: dict[str, int] = {}
    size = Fraction(1)
    for kind, one, exponent in parts:
        factor, power = (one * _LITRE, 3) if kind == "volume" else (one, 1)
        name = "length" if kind == "volume" else kind
        kinds[name] = kinds.get(name, 0) + power * exponent
        size *= factor**exponent
    return Amount(frozenset(kinds.items()), size)


@cache
def _known(name: str) -> tuple[str, Fraction] | None:
    """The kind and the size of a unit: as it is written, in small letters, or in the singular."""
    small = name.lower()
    for form in (name, small, small.removesuffix("s"), name.upper()):
        if form in _TABLE and (len(form) > 1 or form == name):
            return _TABLE[form]
    return _prefixed(name) or _prefixed(small)


def _prefixed(name: str) -> tuple[str, Fraction] | None:
    prefix, symbol = name[:1], name[1:]
    if prefix not in _PREFIXES or symbol not in _PREFIXED:
        return None
    if prefix in "cd" and symbol not in ("m", "l", "L"):
        return None
    kind, size = _TABLE[symbol]
    return kind, size * Fraction(10) ** _PREFIXES[prefix]
