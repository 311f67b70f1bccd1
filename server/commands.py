"""The smaller commands: tokens, clients' configuration, local models, shell completion."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .flags import PORT, add_json, number
from .output import remarked, told


def add(commands: Any) -> None:
    """Add them to the command line."""
    _add_token(commands)
    _add_install(commands)
    _add_model(commands)
    completion = commands.add_parser("completion", help="print a completion script for a shell")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.description = (
        'bash: eval "$(textgrad-mcp completion bash)"; zsh: the same, after compinit; '
        "fish: textgrad-mcp completion fish | source"
    )
    completion.set_defaults(run=_completion)


def _add_token(commands: Any) -> None:
    token = commands.add_parser("token", help="make or revoke bearer tokens for serve --http")
    actions = token.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = actions.add_parser("new", help="make a token of an owner and print it once")
    new.add_argument("owner")
    new.add_argument(
        "--days", type=number(float, 0.001, 36_500), help="how long it is good (without end)"
    )
    new.set_defaults(run=_token_new)
    revoke = actions.add_parser("revoke", help="remove an owner's tokens, or one by its hash")
    revoke.add_argument("owner", metavar="OWNER_OR_HASH")
    revoke.set_defaults(run=_token_revoke)
    for action in (new, revoke):
        action.add_argument("--tokens", type=Path, required=True, metavar="FILE")
        add_json(action)


def _add_install(commands: Any) -> None:
    install = commands.add_parser("install", help="configuration for a client: print or write it")
    clients = ["claude-code", "claude-desktop", "cursor", "vscode", "codex"]
    install.add_argument("client", choices=clients)
    install.add_argument("--write", action="store_true", help="into its file, with a backup")
    install.add_argument(
        "--uvx", action="store_true", help="start it by uvx, not as installed here"
    )
    add_json(install)
    install.set_defaults(run=_install)


def _add_model(commands: Any) -> None:
    model = commands.add_parser("model", help="fetch, list or serve a small local model")
    actions = model.add_subparsers(title="commands", metavar="COMMAND", required=True)
    pull = actions.add_parser("pull", help="download a model's weights (0.5 to 1.1 GB)")
    pull.add_argument("--from", dest="source", metavar="FILE_OR_URL", help="where to get them")
    pull.set_defaults(run=_model_pull)
    listed = actions.add_parser("list", help="the models, and which of them are here")
    listed.set_defaults(run=_model_list)
    for action in (pull, listed):
        add_json(action)
    serve = actions.add_parser("serve", help="serve a model as an OpenAI-compatible endpoint")
    serve.add_argument("--port", type=PORT, default=0, help="port on loopback (any free one)")
    serve.set_defaults(run=_model_serve)
    for action in (pull, serve):
        action.add_argument("--model", metavar="NAME", help="which one (the best small one)")


def _token_new(args: argparse.Namespace) -> int:
    from .auth import new_token

    token = new_token(args.tokens, args.owner, args.days)
    told(args, {"token": token, "owner": args.owner, "days": args.days}, token)
    remarked(args, f"Shown this once; {args.tokens} holds only its hash.")
    return 0


def _token_revoke(args: argparse.Namespace) -> int:
    from .auth import revoke

    count = revoke(args.tokens, args.owner)
    told(args, {"removed": count}, f"{count} removed")
    return 0


def _install(args: argparse.Namespace) -> int:
    import shutil

    from .install import facts, recipe, write

    words = (
        ["uvx", "textgrad-mcp"] if args.uvx else [shutil.which("textgrad-mcp") or "textgrad-mcp"]
    )
    said = (write if args.write else recipe)(args.client, words, Path.home())
    told(args, facts(args.client, words, Path.home()) | {"written": args.write}, said)
    return 0


def _model_pull(args: argparse.Namespace) -> int:
    from .local.model import DEFAULT, pull

    name = args.model or DEFAULT
    path = pull(name, args.source)
    told(args, {"model": name, "path": str(path)}, str(path))
    return 0


def _model_list(args: argparse.Namespace) -> int:
    from .local.model import models, path_of
    from .paint import Paint

    found = {name: path_of(name) for name in models()}
    facts = [{"model": name, "path": str(path) if path else None} for name, path in found.items()]
    rows = [
        (name, str(path) if path else f"not here: textgrad-mcp model pull --model {name}")
        for name, path in found.items()
    ]
    told(args, facts, "\n".join(Paint().table([((name, "bold"), where) for name, where in rows])))
    return 0


def _model_serve(args: argparse.Namespace) -> int:
    from .local.engine import serve
    from .local.model import DEFAULT

    return serve(args.model or DEFAULT, port=args.port)


def _completion(args: argparse.Namespace) -> int:
    import shtab

    from .cli import parser

    top = parser()
    kinds = {"FILE": shtab.FILE, "FILE_OR_URL": shtab.FILE, "DIR": shtab.DIRECTORY}
    for action in _actions(top):
        kind = shtab.FILE if action.type is Path else kinds.get(str(action.metavar))
        if kind is not None:
            action.complete = kind  # type: ignore[attr-defined]
    print(shtab.complete(top, args.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)
        else:
            yield action
