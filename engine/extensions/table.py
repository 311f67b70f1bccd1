"""Tables by name: what is ours, and what installed packages add through entry points.

A package adds to a table by an entry point in the table's group, as docs/extending.md shows. Names
are known without loading anything; an addition is loaded when it is first used. One that cannot be
loaded, or that fails, is told of in words, and harms nothing else.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from functools import cache, wraps
from importlib.metadata import EntryPoint, distributions
from typing import Any, TypeVar, cast

from ...schemas.errors import BadInput, ExtensionFailed, TextGradError
from ...schemas.graph import Value
from ...schemas.near import did_you_mean

T = TypeVar("T")
G = TypeVar("G")
Makes = Mapping[str, tuple[type, ...]]
Clean = Callable[[str], str]
log = logging.getLogger(__name__)
GROUPS = "textgrad_mcp."
"""What the names of our groups of entry points begin with."""
_OURS = __name__.partition(".")[0]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LONGEST = 300  # characters of an error that are told
_MEND = "Mend or uninstall that package, or use another."


class Table(Mapping[str, T]):
    """One kind of thing by name. `what` is its word, `form` its class, `own` those that are ours;
    what is given by its place (`module:object`) is loaded when first used.

    Indexing raises KeyError for an unknown name, ExtensionFailed for an addition that cannot be
    loaded. An addition can have no name of ours, nor one that is `taken` elsewhere. `makes` tells
    the classes of what its methods give, by name, and of what it gives itself, called ("").
    """

    def __init__(
        self,
        what: str,
        group: str,
        own: Mapping[str, T | str],
        form: type | str | None = None,
        makes: Makes | None = None,
        taken: Container[str] = (),
    ) -> None:
        self.what, self.group, self.own = what, GROUPS + group, dict(own)
        self._taken = taken
        self._form, self._makes = form, makes or {}
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.added

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self.added

    def __len__(self) -> int:
        return len(self.own) + len(self.added)

    @property
    def added(self) -> dict[str, EntryPoint]:
        """The entry points of what installed packages add, by name."""
        found = points().get(self.group, {})
        return {n: p for n, p in found.items() if n not in self.own and n not in self._taken}

    def find(self, name: str) -> T:
        """The thing of that name. Raises BadInput, with the nearest name, where there is none."""
        try:
            return self[name]
        except KeyError:
            hint, names = did_you_mean(name, list(self)), ", ".join(self)
            words = f"There is no {self.what} {name!r}.{hint}"
            raise BadInput(words, f"Use one of {names}.") from None

    def guard(self, name: str, made: G, makes: Makes, clean: Clean = str) -> G:
        """What the thing of that name has made: as careful as the thing itself, if it is added.

        What is told of its errors goes through `clean`, which takes out what must not be shown.
        """
        if name in self.own:
            return made
        return cast(G, _Guarded(made, self._words(name), makes, clean))

    def _words(self, name: str) -> str:
        return f"The {self.what} {name!r}, which {_package(self.added[name])} adds,"

    def _load(self, name: str) -> T:
        if name in self.own:
            mine = self.own[name]
            return _at(mine) if isinstance(mine, str) else mine
        point = self.added[name]
        words = self._words(name)
        found = guarded(point.load, words, "cannot be loaded")()
        form = _at(self._form) if isinstance(self._form, str) else self._form
        if form is not None and not isinstance(found, form):
            said = f"{words} is of type {type(found).__name__}, not {form.__name__}."
            raise ExtensionFailed(said, _MEND)
        return cast(T, _Guarded(found, words, self._makes))


def names_added(group: str) -> list[str]:
    """The names of what installed packages add to a table."""
    return list(points().get(GROUPS + group, {}))


class _Guarded:
    """What a package added; whatever it raises is told of in words."""

    def __init__(self, inner: Any, words: str, makes: Makes, clean: Clean = str) -> None:
        self._inner, self._words, self._makes, self._clean = inner, words, makes, clean

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        function = callable(found) and (name in self._makes or not isinstance(found, type))
        return self._guarded(found, name) if function else found

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._guarded(self._inner, "")(*args, **named)

    def _guarded(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        return guarded(function, self._words, makes=self._makes.get(name), clean=self._clean)


def guarded(
    function: Callable[..., Any],
    words: str,
    did: str = "failed",
    makes: tuple[type, ...] | None = None,
    clean: Clean = str,
) -> Callable[..., Any]:
    """`function`, or what it gives to be awaited, with an error that is none of ours put into
    words: ExtensionFailed, which says that what `words` name `did` what. So is what it `makes`, if
    that is of another class, or a score that is none.
    """

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            made = function(*args, **named)
        except (Exception, SystemExit) as error:
            raise _told(error, f"{words} {did}", clean) from error
        return awaited(made) if inspect.isawaitable(made) else _checked(made, words, makes)

    async def awaited(made: Awaitable[Any]) -> Any:
        try:
            found = await made
        except (Exception, SystemExit) as error:
            raise _told(error, f"{words} {did}", clean) from error
        return _checked(found, words, makes)

    return call


def _checked(made: Any, words: str, makes: tuple[type, ...] | None) -> Any:
    if makes is not None and not isinstance(made, makes):
        raise ExtensionFailed(
            f"{words} made {type(made).__name__}, not {' or '.join(m.__name__ for m in makes)}.",
            _MEND,
        )
    if isinstance(made, Value) and made.score is not None and not 0 <= made.score <= 1:
        said = f"{words} gave the score {made.score:g}, which is not from 0 to 1."
        raise ExtensionFailed(said, _MEND)
    return made


def _told(error: BaseException, words: str, clean: Clean) -> BaseException:
    """One of our own errors as it is (a refusal, a reply that is awaited), any other in words."""
    if isinstance(error, TextGradError):
        error.message, error.next = clean(error.message), clean(error.next)
    if type(error).__module__.partition(".")[0] == _OURS:
        return error
    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
    return ExtensionFailed(
        clean(f"{words}: {type(error).__name__}: {said}").rstrip(": ") + ".", _MEND
    )


def _at(place: str) -> Any:
    return EntryPoint("", f"{_OURS}.{place}", "").load()


def _package(point: EntryPoint) -> str:
    dist = point.dist
    return f"the package {dist.name} {dist.version}" if dist is not None else "a package"


@cache
def points() -> Mapping[str, Mapping[str, EntryPoint]]:
    """The entry points of our groups, found once; of two with one name, the first counts."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in _every():
        if point.group.startswith(GROUPS) and _is_name(point):
            kept = found.setdefault(point.group, {}).setdefault(point.name, point)
            if kept.value != point.value:
                said = "%s %r of %s is not used: there is another of that name, of %s."
                log.warning(said, point.group, point.name, _package(point), _package(kept))
    return found


def _is_name(point: EntryPoint) -> bool:
    if _NAME.fullmatch(point.name):
        return True
    said = "%s %.100r of %s is not used: a name is of small letters, digits and _."
    log.warning(said, point.group, point.name, _package(point))
    return False


def _every() -> Iterator[EntryPoint]:
    for package in distributions():
        try:
            yield from package.entry_points
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, others are not
            log.warning("The entry points of a package cannot be read: %s", error)
