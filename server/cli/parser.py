"""What the parts of the command line share: the parser, and the flags of the settings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from ...schemas.errors import BadInput

if TYPE_CHECKING:
    from ...schemas.settings import Settings
    from ..settings.load import Origins

N = TypeVar("N", int, float)
SET = "set "
"""Marks what argparse collects as a setting, by its dotted name."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line, and what to do."""

    def error(self, message: str) -> NoReturn:
        """Raise BadInput."""
        raise BadInput(f"{message.rstrip('.')}.", f"See {self.prog} --help.")


def number(kind: type[N], least: N, most: N) -> Callable[[str], N]:
    """For an argument's `type`: a number from `least` to `most`, in words where it is not."""

    def read(given: str) -> N:
        try:
            value = kind(given)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:  # so NaN is none, too
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{given[:40]!r} is not {what} from {least:,.12g} to {most:,.12g}"
            )
        return value

    return read


PORT = number(int, 0, 65535)


class Version(argparse.Action):
    """Prints the version; it is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..version import VERSION

        print(f"textgrad-mcp {VERSION}")
        parser.exit()


class _Set(argparse.Action):
    """Keeps NAME=VALUE under a name of its own, so that none replaces another."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        given: object,
        *_: object,
    ) -> None:
        name, equals, value = str(given).partition("=")
        if not equals:
            parser.error(f"--set needs NAME=VALUE, not {given!r}")
        setattr(namespace, SET + name.strip(), value)


def setting_flags() -> Parser:
    """The flags of the settings, to be inherited; one that is not given leaves no trace."""
    flags = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = flags.add_argument_group("settings")
    group.add_argument("--config", metavar="FILE", help="the configuration file (TOML)")
    _add(group, "database", "database", "FILE", "where sessions are kept: or postgresql://...")
    _add(group, "data-dir", "data_dir", "DIR", "where add_examples may read files")
    _add(group, "workspace", "workspace", "DIR", "where parameters may be bound to files")
    for role, whom in (("both", "both roles"), ("forward", "forward"), ("backward", "backward")):
        name = "" if role == "both" else f"{role}-"
        _add(group, f"{name}answerer", f"{role}.answerer", "NAME", f"who answers: {whom}")
        _add(group, f"{name}base-url", f"{role}.base_url", "URL", f"endpoint: {whom}")
        _add(group, f"{name}model", f"{role}.model", "NAME", f"model: {whom}")
    more = "any other setting, for example forward.timeout=30; may be repeated"
    group.add_argument("--set", action=_Set, metavar="NAME=VALUE", help=more)
    return flags


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a command print its result as JSON."""
    parser.add_argument("--json", action="store_true", help="for programs: print JSON")


def _add(group: argparse._ArgumentGroup, flag: str, setting: str, metavar: str, text: str) -> None:
    group.add_argument(f"--{flag}", dest=SET + setting, metavar=metavar, help=text)


def settings_of(args: argparse.Namespace) -> tuple[Settings, Origins, Path]:
    """The settings in force for these arguments, their origins, and the file's path."""
    from ..settings.load import config_path, load

    given = {k.removeprefix(SET): v for k, v in vars(args).items() if k.startswith(SET)}
    path = Path(args.config).expanduser() if "config" in args else None
    settings, origins = load(given, os.environ, path)
    return settings, origins, path or config_path(os.environ)
