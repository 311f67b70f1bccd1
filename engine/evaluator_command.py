"""What an evaluator's settings mean: its command line, its environment, its line in a list."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from ..schemas.errors import BadInput, EndpointRefused
from ..schemas.settings import EvaluatorSettings

FIX = "Nothing was scored. The operator can mend the program or its settings; then try again."
_DESCRIPTION = 200  # characters of a description that a list shows
_LISTED = 20
_SECRET = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL")
_SHORTEST = 8  # characters of a secret: shorter values are parts of words
_CHILD = str(Path(__file__).with_name("child.py"))
_CHANGE = "The operator must change its settings."


def listed(settings: Mapping[str, EvaluatorSettings]) -> str:
    """Names with what the operator says of each, in one line; empty where there are none."""
    words = {name: " ".join(one.description.split()) for name, one in settings.items()}
    shown = [f"{n} ({_cut(w)})" if w else n for n, w in list(words.items())[:_LISTED]]
    more = len(words) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _cut(words: str) -> str:
    return words if len(words) <= _DESCRIPTION else words[: _DESCRIPTION - 1] + "…"


def check(name: str, settings: EvaluatorSettings) -> None:
    """Raises BadInput unless the settings say what to run."""
    if bool(settings.command) == bool(settings.entry_point):
        raise BadInput(f"The evaluator {name} needs either `command` or `entry_point`.", _CHANGE)
    if any("\x00" in part for part in settings.command or []):
        raise BadInput(f"The command of {name} holds a NUL.", _CHANGE)
    module, colon, function = (settings.entry_point or "module:function").partition(":")
    if not (module and colon and function):
        raise BadInput(f"The entry_point of {name} must have the form module:function.", _CHANGE)


def command_of(name: str, settings: EvaluatorSettings) -> list[str]:
    """The whole command line. Raises EndpointRefused where there is no such program."""
    if os.name != "posix":
        raise cannot_run(name, "it needs a POSIX system")
    folder = (settings.folder or Path()).absolute()
    if settings.entry_point:
        # -P: neither the temporary directory nor this script's is searched for modules
        place = [str(folder)] if settings.folder else []
        return [sys.executable, "-P", _CHILD, settings.entry_point, *place]
    program, *arguments = settings.command or [""]
    return [_found(name, program, folder), *(_placed(one, folder) for one in arguments)]


def _found(name: str, program: str, folder: Path) -> str:
    """The program's path: a bare name is looked up as a shell would, then in `folder`."""
    bare = os.sep not in program
    known = shutil.which(program) if bare else None
    if known is not None:
        return str(Path(known).absolute())
    path = folder / Path(program).expanduser()
    if path.is_file() and os.access(path, os.X_OK):
        return str(path)
    tried = f"{program} is not on the PATH, and {path}" if bare else str(path)
    what = "is not executable" if path.is_file() else "is not there"
    raise cannot_run(name, f"{tried} {what}")


def _placed(argument: str, folder: Path) -> str:
    """An argument that names something in `folder`, by its full path; any other as it is.

    A name without a slash must be a file's: a word such as `train` is seldom meant as a folder.
    """
    option, equals, value = "", "", argument
    if argument.startswith("-"):
        option, equals, value = argument.partition("=")
    path = folder / value
    named = os.path.isfile(path) or (os.sep in value and os.path.exists(path))
    return f"{option}{equals}{path}" if value and named else argument


def environment_of(settings: EvaluatorSettings) -> dict[str, str]:
    """The variables that a program sees, besides HOME and TMPDIR."""
    named = {key: os.environ[key] for key in settings.env if key in os.environ}
    return {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **named}


def scrubbed(text: str, environment: Mapping[str, str]) -> str:
    """`text` without the values of those variables that hold secrets, by their names."""
    for name, value in environment.items():
        if len(value) >= _SHORTEST and any(word in name.upper() for word in _SECRET):
            text = text.replace(value, f"[{name}]")
    return text


def cannot_run(name: str, why: str) -> EndpointRefused:
    """The error for a program that cannot be run, whatever it is given."""
    return EndpointRefused(f"The evaluator {name} cannot be run: {why}.", FIX)
