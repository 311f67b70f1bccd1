"""What installed packages add, in the tools' definitions: names only, nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...engine.extensions.operations import FORWARD, LOSSES
from ...engine.extensions.table import names_added

WHAT: Mapping[tuple[str, str], Callable[[], Iterable[str]]] = {
    ("forward", "operation"): lambda: FORWARD.added,
    ("compute_loss", "kind"): lambda: LOSSES.added,
    ("compute_loss", "metric"): lambda: names_added("metrics"),
    ("optimize", "strategy"): lambda: names_added("strategies"),
    ("step", "strategy"): lambda: names_added("strategies"),
    ("create_variable", "constraints"): lambda: names_added("constraints"),
}
"""Arguments of tools that additions can be named in."""


def extend(tool: str, schema: dict[str, Any]) -> None:
    """Name in a tool's `schema` what packages add: among its choices, or else in words."""
    for name, argument in schema.get("properties", {}).items():
        added = WHAT[tool, name]() if (tool, name) in WHAT else ()
        if "enum" in argument:
            argument["enum"] += [one for one in added if one not in argument["enum"]]
            continue
        words = argument.get("description", "")
        if new := [one for one in added if not re.search(rf"\b{one}\b", words)]:
            argument["description"] = f"{words} Also {', '.join(new)}."
