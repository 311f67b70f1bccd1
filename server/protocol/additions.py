"""What installed packages add, in the tools' definitions: names only, nothing is loaded."""

from __future__ import annotations

from typing import Any

from ...engine.extensions.table import names_added

CHOICES = {
    ("forward", "operation"): "operations",
    ("compute_loss", "kind"): "losses",
    ("optimize", "strategy"): "strategies",
}
"""Arguments that are one of some names."""
MENTIONED = {
    ("compute_loss", "metric"): "metrics",
    ("create_variable", "constraints"): "constraints",
}
"""Arguments whose descriptions name what there is."""


def extend(tool: str, schema: dict[str, Any]) -> None:
    """Name in a tool's `schema` what packages add to what its arguments may be."""
    for name, argument in schema.get("properties", {}).items():
        if (tool, name) in CHOICES:
            known = argument["enum"]
            known += [n for n in names_added(CHOICES[tool, name]) if n not in known]
        elif (tool, name) in MENTIONED and (added := names_added(MENTIONED[tool, name])):
            argument["description"] += f" Also {', '.join(added)}."
