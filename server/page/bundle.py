"""The page as one HTML text: its modules joined, nothing loaded from anywhere, no build step.

Each module becomes a function that gives what it exports; `import {a} from "./x.js"` takes from
it. Only that form of import is known, and only `export function`, `const` or `class`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Way = Literal["chat", "viewer", "file"]
FIRST = "app.js"
_IMPORT = re.compile(r'^import \{([^}]+)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
_LISTED = re.compile(r"export\{([^}]+)\};?\s*$")
_REMARK = re.compile(r"^(?://.*|/\*\*[\s\S]*?\*/)\n", re.MULTILINE)
_LEFT = re.compile(r"^\s*(?:import|export)\b.*", re.MULTILINE)
CSP = (
    "default-src 'none'; script-src '{script}'; style-src 'unsafe-inline'; img-src data:; "
    "{connect}base-uri 'none'; form-action 'none'"
)
SKELETON = """\
<!doctype html>
<html lang="en" data-way="{way}">
<head>
<meta charset="utf-8">
{policy}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main id="root"></main>
{island}<script>{script}</script>
</body>
</html>
"""


def html(way: Way, title: str = "textgrad", island: Mapping[str, Any] | None = None) -> str:
    """The page. `island` is the data of a file, which also says itself what it may do."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{policy_of("file")}">\n'
    data = f'<script type="application/json" id="island">{escaped(island)}</script>\n'
    return SKELETON.format(
        way=way,
        policy=policy if way == "file" else "",
        title=title.replace("&", "&amp;").replace("<", "&lt;"),
        style=style(),
        island=data if island is not None else "",
        script=script(),
    )


def policy_of(way: Way) -> str:
    """The policy of a page that is no app: one script, by its hash, and nothing from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    connect = "connect-src 'self'; " if way == "viewer" else ""
    return CSP.format(script=f"sha256-{digest}", connect=connect)


def address() -> str:
    """The page's address as an app: another one for each content, for hosts keep what they read."""
    return f"ui://textgrad/page-{hashlib.sha256(html('chat').encode()).hexdigest()[:8]}.html"


def escaped(data: Any) -> str:
    """JSON that can end neither its element nor begin a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def script() -> str:
    """All modules as one script."""
    order: dict[str, str] = {}
    _add(FIRST, order, ())
    return f'"use strict";(() => {{\n{"".join(order.values())}}})();'


@cache
def style() -> str:
    """The style sheet."""
    return source("style.css")


def source(name: str) -> str:
    """One of the page's files."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _add(name: str, order: dict[str, str], within: tuple[str, ...]) -> None:
    """Add a module after those that it imports. Raises ValueError for what cannot be joined."""
    if name in within:
        raise ValueError(f"{name} imports itself by way of {' -> '.join(within)}")
    if name in order:
        return
    text = source(name)
    for _, other in _IMPORT.findall(text):
        _add(f"{other}.js", order, (*within, name))
    order[name] = wrapped(name, text)


def wrapped(name: str, text: str) -> str:
    """A module as a function that is called once. Raises ValueError for what cannot be joined."""
    text = _REMARK.sub("", text)
    taken = _IMPORT.sub(lambda m: f"const {{{_renamed(m[1])}}} = {_name(m[2])};\n", text)
    listed = _LISTED.search(taken)
    if listed:  # the vendored module says at its end what it gives
        pairs = [pair.split(" as ") for pair in listed[1].split(",")]
        given = ", ".join(f"{pair[-1].strip()}: {pair[0].strip()}" for pair in pairs)
        taken = taken[: listed.start()] + "\n"
    else:
        given = ", ".join(_EXPORT.findall(taken))
        taken = _EXPORT.sub("", taken)
        if left := _LEFT.search(taken):
            raise ValueError(f"{name}: {left[0].strip()!r} is no import or export that is known")
    if "</script" in taken.lower() or "<!--" in taken:
        raise ValueError(f"{name} would end the element it stands in")
    return (
        f"const {_name(name.removesuffix('.js'))} = (() => {{\n{taken}return {{{given}}};\n}})();\n"
    )


def _renamed(names: str) -> str:
    return names.replace(" as ", ": ")


def _name(module: str) -> str:
    return f"m_{module}"
