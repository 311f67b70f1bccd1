"""The command line: `textgrad-mcp` is the server, its subcommands are for people."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..schemas.errors import TextGradError
from . import sessions_cli

if TYPE_CHECKING:
    from ..schemas.settings import Settings
    from .config import Origins

_SET = "set "  # marks what argparse collects as a setting, by its dotted name

ABOUT = """\
An MCP server that improves texts (prompts, code, plans) by textual gradient descent.
Without a command it serves one client on stdin and stdout."""

FIRST_USE = """\
first use:
  claude mcp add textgrad -- textgrad-mcp     or, in any client's configuration:
  {"mcpServers": {"textgrad": {"command": "textgrad-mcp"}}}
  Then tell the assistant: "Use textgrad to improve this prompt: ..."

Nothing else is needed: the assistant itself answers the prompts. To let an endpoint answer them,
set TEXTGRAD_MCP_MODEL and OPENAI_API_KEY, or TEXTGRAD_MCP_BASE_URL for any compatible server.
`textgrad-mcp config` shows every setting and where it comes from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 for an error that the message explains."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
    except TextGradError as error:
        print(f"textgrad-mcp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def parser() -> argparse.ArgumentParser:
    """The whole command line. Flags for settings may stand before or after a command."""
    flags = _setting_flags()
    top = argparse.ArgumentParser(
        prog="textgrad-mcp",
        description=ABOUT,
        epilog=FIRST_USE,
        parents=[flags],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version)
    top.set_defaults(run=_stdio)
    commands = top.add_subparsers(title="commands", metavar="")
    serve = commands.add_parser("serve", parents=[flags], help="serve MCP on stdio or over HTTP")
    serve.add_argument("--http", action="store_true", help="streamable HTTP at /mcp")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    _add_http(serve)
    serve.set_defaults(run=_serve)
    _add_token(commands)
    config = commands.add_parser("config", parents=[flags], help="show the settings in force")
    config.add_argument("--json", action="store_true", help="for scripts")
    config.set_defaults(run=_config)
    _add_install(commands)
    sessions_cli.add(commands, flags)
    _add_model(commands)
    demo = commands.add_parser("demo", parents=[flags], help="optimise a prompt with a local model")
    demo.add_argument("--task", choices=["dates", "tickets"], default="dates")
    demo.add_argument("--steps", type=int, help="how many steps at most")
    demo.add_argument("--seed", type=int, default=0, help="which items are drawn (%(default)s)")
    demo.set_defaults(run=_demo)
    return top


class _Version(argparse.Action):
    """Prints the version; it is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .version import VERSION

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
        setattr(namespace, _SET + name.strip(), value)


def _setting_flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = flags.add_argument_group("settings")
    group.add_argument("--config", metavar="FILE", help="the configuration file (TOML)")
    _add_flag(group, "database", "database", "FILE", "where sessions are kept")
    _add_flag(group, "data-dir", "data_dir", "DIR", "where add_examples may read files")
    _add_flag(group, "workspace", "workspace", "DIR", "where parameters may be bound to files")
    for role, whom in (("both", "both roles"), ("forward", "forward"), ("backward", "backward")):
        name = "" if role == "both" else f"{role}-"
        _add_flag(group, f"{name}answerer", f"{role}.answerer", "NAME", f"who answers: {whom}")
        _add_flag(group, f"{name}base-url", f"{role}.base_url", "URL", f"endpoint: {whom}")
        _add_flag(group, f"{name}model", f"{role}.model", "NAME", f"model: {whom}")
    more = "any other setting, for example forward.timeout=30; may be repeated"
    group.add_argument("--set", action=_Set, metavar="NAME=VALUE", help=more)
    return flags


def _add_flag(
    group: argparse._ArgumentGroup, flag: str, setting: str, metavar: str, text: str
) -> None:
    group.add_argument(f"--{flag}", dest=_SET + setting, metavar=metavar, help=text)


def _add_http(serve: argparse.ArgumentParser) -> None:
    group = serve.add_argument_group("HTTP")
    group.add_argument("--tokens", type=Path, metavar="FILE", help="bearer tokens (hashed)")
    group.add_argument("--jwks", metavar="FILE_OR_URL", help="keys that sign JWTs")
    group.add_argument("--jwt-issuer", default="", metavar="URL", help="who issues the JWTs")
    group.add_argument("--jwt-audience", action="append", default=[], metavar="NAME")
    group.add_argument("--public-url", metavar="URL", help="where clients see /mcp")
    group.add_argument("--allowed-host", action="append", default=[], metavar="HOST")
    group.add_argument("--allowed-origin", action="append", default=[], metavar="ORIGIN")
    group.add_argument("--per-minute", type=float, default=600.0, help="requests of one caller")
    group.add_argument("--burst", type=float, default=100.0, help="... at once")


def _add_token(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    token = commands.add_parser("token", help="make or revoke bearer tokens for serve --http")
    actions = token.add_subparsers(title="commands", metavar="", required=True)
    new = actions.add_parser("new", help="make a token of an owner and print it once")
    new.add_argument("owner")
    new.add_argument("--days", type=float, help="how long it is good (without end)")
    new.set_defaults(run=_token_new)
    revoke = actions.add_parser("revoke", help="remove an owner's tokens, or one by its hash")
    revoke.add_argument("owner", metavar="OWNER_OR_HASH")
    revoke.set_defaults(run=_token_revoke)
    for action in (new, revoke):
        action.add_argument("--tokens", type=Path, required=True, metavar="FILE")


def _add_install(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    install = commands.add_parser("install", help="configuration for a client: print or write it")
    clients = ["claude-code", "claude-desktop", "cursor", "vscode", "codex"]
    install.add_argument("client", choices=clients)
    install.add_argument("--write", action="store_true", help="into its file, with a backup")
    install.add_argument(
        "--uvx", action="store_true", help="start it by uvx, not as installed here"
    )
    install.set_defaults(run=_install)


def _add_model(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    model = commands.add_parser("model", help="fetch, list or serve a small local model")
    actions = model.add_subparsers(title="commands", metavar="", required=True)
    pull = actions.add_parser("pull", help="download a model's weights (0.5 to 1.1 GB)")
    pull.add_argument("--from", dest="source", metavar="FILE_OR_URL", help="where to get them")
    pull.set_defaults(run=_model_pull)
    listed = actions.add_parser("list", help="the models, and which of them are here")
    listed.set_defaults(run=_model_list)
    serve = actions.add_parser("serve", help="serve a model as an OpenAI-compatible endpoint")
    serve.add_argument("--port", type=int, default=0, help="port on loopback (any free one)")
    serve.set_defaults(run=_model_serve)
    for action in (pull, serve):
        action.add_argument("--model", metavar="NAME", help="which one (the best small one)")


def settings_of(args: argparse.Namespace) -> tuple[Settings, Origins, Path]:
    """The settings in force for these arguments, their origins, and the file's path."""
    from .config import config_path, load

    given = {k.removeprefix(_SET): v for k, v in vars(args).items() if k.startswith(_SET)}
    path = Path(args.config).expanduser() if "config" in args else None
    settings, origins = load(given, os.environ, path)
    return settings, origins, path or config_path(os.environ)


def _stdio(args: argparse.Namespace) -> int:
    settings, _, _ = settings_of(args)
    if sys.stdin.isatty():
        print(
            "textgrad-mcp is an MCP server and now waits for a client on standard input. "
            "A client starts it by itself: see textgrad-mcp --help. Leave with Ctrl-D.",
            file=sys.stderr,
        )
    from .app import serve_stdio
    from .telemetry import tracing

    try:
        with tracing(os.environ):
            serve_stdio(settings)
    except KeyboardInterrupt:
        sys.stderr.flush()
        os._exit(130)  # a thread still waits for a line of input that may never come
    return 0


def _serve(args: argparse.Namespace) -> int:
    if not args.http:
        return _stdio(args)
    settings, _, _ = settings_of(args)
    from .http import HttpOptions, serve_http
    from .telemetry import tracing

    options = HttpOptions(
        host=args.host,
        port=args.port,
        tokens=args.tokens,
        jwks=args.jwks,
        jwt_issuer=args.jwt_issuer,
        jwt_audience=tuple(args.jwt_audience),
        public_url=args.public_url,
        allowed_hosts=tuple(args.allowed_host),
        allowed_origins=tuple(args.allowed_origin),
        per_minute=args.per_minute,
        burst=args.burst,
    )
    with tracing(os.environ):
        serve_http(settings, options)
    return 0


def _token_new(args: argparse.Namespace) -> int:
    from .auth import new_token

    print(new_token(args.tokens, args.owner, args.days))
    print(f"Shown this once; {args.tokens} holds only its hash.", file=sys.stderr)
    return 0


def _token_revoke(args: argparse.Namespace) -> int:
    from .auth import revoke

    print(f"{revoke(args.tokens, args.owner)} removed")
    return 0


def _config(args: argparse.Namespace) -> int:
    from .config_view import as_json, as_text

    print((as_json if args.json else as_text)(*settings_of(args)))
    return 0


def _install(args: argparse.Namespace) -> int:
    import shutil

    from .install import recipe, write

    words = (
        ["uvx", "textgrad-mcp"] if args.uvx else [shutil.which("textgrad-mcp") or "textgrad-mcp"]
    )
    print((write if args.write else recipe)(args.client, words, Path.home()))
    return 0


def _model_pull(args: argparse.Namespace) -> int:
    from .local.model import DEFAULT, pull

    print(pull(args.model or DEFAULT, args.source))
    return 0


def _model_list(_: argparse.Namespace) -> int:
    from .local.model import models, path_of

    for name in models():
        print(f"{name}  {path_of(name) or 'not here: textgrad-mcp model pull --model ' + name}")
    return 0


def _model_serve(args: argparse.Namespace) -> int:
    from .local.engine import serve
    from .local.model import DEFAULT

    return serve(args.model or DEFAULT, port=args.port)


def _demo(args: argparse.Namespace) -> int:
    settings, _, _ = settings_of(args)
    from .demo.main import run

    return run(args.task, settings, steps=args.steps, seed=args.seed)


if __name__ == "__main__":
    sys.exit(main())
