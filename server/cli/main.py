"""The command line: `textgrad-mcp` is the server, its subcommands are for people."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ...schemas.errors import TextGradError
from ..page import commands as page
from . import commands
from . import sessions as sessions_cli
from .output import EXIT_CODES, failed, told
from .parser import PORT, Parser, Version, add_json, number, setting_flags, settings_of

ABOUT = """\
An MCP server that improves texts (prompts, code, plans) by textual gradient descent.
Without a command it serves one client on stdin and stdout."""

FIRST_USE = f"""\
first use:
  claude mcp add textgrad -- textgrad-mcp     or, in any client's configuration:
  {{"mcpServers": {{"textgrad": {{"command": "textgrad-mcp"}}}}}}
  Then tell the assistant: "Use textgrad to improve this prompt: ..."

Nothing else is needed: the assistant itself answers the prompts. To let an endpoint answer them,
set TEXTGRAD_MCP_MODEL and OPENAI_API_KEY, or TEXTGRAD_MCP_BASE_URL for any compatible server.
`textgrad-mcp config` shows every setting and where it comes from.

{EXIT_CODES}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code, see EXIT_CODES."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        args = parser().parse_args(words)
        code: int = args.run(args)
        sys.stdout.flush()
    except TextGradError as error:
        failed(error, as_json="--json" in words)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `... | head`: what is left has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def parser() -> argparse.ArgumentParser:
    """The whole command line. Flags for settings may stand before or after a command."""
    flags = setting_flags()
    top = Parser(
        prog="textgrad-mcp",
        description=ABOUT,
        epilog=FIRST_USE,
        parents=[flags],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=Version)
    top.set_defaults(run=_stdio)
    added = top.add_subparsers(title="commands", metavar="COMMAND")
    serve = added.add_parser("serve", parents=[flags], help="serve MCP on stdio or over HTTP")
    serve.add_argument("--http", action="store_true", help="streamable HTTP at /mcp")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=PORT, default=8000, help="port to listen on (%(default)s)")
    _add_http(serve)
    serve.set_defaults(run=_serve)
    config = added.add_parser("config", parents=[flags], help="show the settings in force")
    add_json(config)
    config.set_defaults(run=_config)
    sessions_cli.add(added, flags)
    page.add_view(added, flags, lambda args: settings_of(args)[0])
    commands.add(added, top)
    demo = added.add_parser("demo", parents=[flags], help="optimise a prompt with a local model")
    demo.add_argument("--task", choices=["dates", "tickets"], default="dates")
    demo.add_argument("--steps", type=number(int, 1, 1000), help="how many steps at most")
    seed = number(int, 0, 10**9)
    demo.add_argument("--seed", type=seed, default=0, help="which items are drawn (%(default)s)")
    add_json(demo)
    demo.set_defaults(run=_demo)
    return top


def _add_http(serve: argparse.ArgumentParser) -> None:
    group = serve.add_argument_group("HTTP")
    group.add_argument("--tokens", type=Path, metavar="FILE", help="bearer tokens (hashed)")
    group.add_argument("--jwks", metavar="FILE_OR_URL", help="keys that sign JWTs")
    group.add_argument("--jwt-issuer", default="", metavar="URL", help="who issues the JWTs")
    group.add_argument("--jwt-audience", action="append", default=[], metavar="NAME")
    late = number(float, 0, 600)
    group.add_argument("--jwt-leeway", type=late, default=30.0, metavar="SECONDS")
    group.add_argument("--public-url", metavar="URL", help="where clients see /mcp")
    group.add_argument("--allowed-host", action="append", default=[], metavar="HOST")
    group.add_argument("--allowed-origin", action="append", default=[], metavar="ORIGIN")
    many, few = number(float, 0.1, 1e6), number(float, 1, 1e6)
    group.add_argument("--per-minute", type=many, default=600.0, help="requests of one caller")
    group.add_argument("--burst", type=few, default=100.0, help="... at once")
    most = number(int, 1, 100_000)
    group.add_argument("--connections", type=most, default=512, help="open from one address")
    group.add_argument(
        "--metrics",
        nargs="?",
        const="",
        metavar="OWNER",
        help="serve /metrics to this owner, where callers show tokens; else on loopback",
    )
    by_owner = "tell in /metrics whose calls they were"
    group.add_argument("--metrics-by-owner", action="store_true", help=by_owner)
    group.add_argument(
        "--stateless",
        action="store_true",
        help="older clients without sessions, so that any replica can answer them",
    )
    group.add_argument(
        "--proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="whose X-Forwarded-For is believed: an address or network (nobody's)",
    )


def _stdio(args: argparse.Namespace) -> int:
    settings, _, _ = settings_of(args)
    if sys.stdin.isatty():
        print(
            "textgrad-mcp is an MCP server and now waits for a client on standard input. "
            "A client starts it by itself: see textgrad-mcp --help. Leave with Ctrl-D.",
            file=sys.stderr,
        )
    from ..protocol.app import serve_stdio
    from ..telemetry import tracing

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
    from ..http.serve import HttpOptions, serve_http
    from ..telemetry import tracing

    options = HttpOptions(
        host=args.host,
        port=args.port,
        tokens=args.tokens,
        jwks=args.jwks,
        jwt_issuer=args.jwt_issuer,
        jwt_audience=tuple(args.jwt_audience),
        jwt_leeway=args.jwt_leeway,
        public_url=args.public_url,
        allowed_hosts=tuple(args.allowed_host),
        allowed_origins=tuple(args.allowed_origin),
        proxies=tuple(args.proxy),
        connections=args.connections,
        per_minute=args.per_minute,
        burst=args.burst,
        stateless=args.stateless,
        metrics=args.metrics,
        metrics_by_owner=args.metrics_by_owner,
    )
    with tracing(os.environ):
        serve_http(settings, options)
    return 0


def _config(args: argparse.Namespace) -> int:
    from ..terminal import Styles
    from .config_table import as_text, facts

    found = settings_of(args)
    told(args, facts(*found), as_text(*found, Styles()))
    return 0


def _demo(args: argparse.Namespace) -> int:
    settings, _, _ = settings_of(args)
    from ..demo.main import run
    from ..demo.report import report
    from ..terminal import Styles

    found = run(args.task, settings, steps=args.steps, seed=args.seed)
    told(args, found.facts(), report(found, Styles()))
    return 0
