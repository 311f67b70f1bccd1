"""What `optimize` may be asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from ..schemas.errors import BadInput
from .parents import How

STRATEGIES = ("gradient", "rewrite", "exact")
BUDGET_KEYS = ("calls", "tokens", "cost", "seconds")


def check(args: Mapping[str, Any]) -> None:
    """Raises BadInput for arguments that cannot be."""
    for key, least, most in (
        ("steps", 1, 1000),
        ("batch_size", 1, 256),
        ("candidates", 1, 16),
        ("patience", 1, 1000),
        ("goal", 0, 1),
        ("memory", 0, 64),
    ):
        if not least <= args[key] <= most:
            raise BadInput(
                f"{key} must be between {least} and {most}, not {args[key]}.",
                "Leave it out for the usual value.",
            )
    if args["strategy"] not in STRATEGIES:
        raise BadInput(
            f"There is no strategy {args['strategy']!r}.", f"Use one of {', '.join(STRATEGIES)}."
        )
    if args["parents"] not in get_args(How):
        raise BadInput(
            f"parents cannot be {args['parents']!r}.", f"Use one of {', '.join(get_args(How))}."
        )
    for key, value in args["budget"].items():
        if key not in BUDGET_KEYS or not 0 < value < math.inf:
            raise BadInput(
                f"budget cannot have {key}={value}.",
                f"Give numbers above 0 for some of {', '.join(BUDGET_KEYS)}.",
            )
