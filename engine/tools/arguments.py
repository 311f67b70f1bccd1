"""What `optimize` may be asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from ...schemas.errors import BadInput
from ..optimizer.pool import How
from ..optimizer.strategies import STRATEGIES

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
        if args[key] is not None:
            check_range(key, args[key], least, most)
    if args["strategy"] is not None:
        STRATEGIES.find(args["strategy"])
    if args["parents"] is not None and args["parents"] not in get_args(How):
        raise BadInput(
            f"parents cannot be {args['parents']!r}.", f"Use one of {', '.join(get_args(How))}."
        )
    for key, value in args["budget"].items():
        if key not in BUDGET_KEYS or not 0 < value < math.inf:
            raise BadInput(
                f"budget cannot have {key}={value}.",
                f"Give finite numbers above 0 for some of {', '.join(BUDGET_KEYS)}.",
            )


def check_range(key: str, value: float, least: float, most: float) -> None:
    """Raises BadInput for a number that is too small or too large."""
    if not least <= value <= most:
        raise BadInput(
            f"{key} must be between {least} and {most}, not {value}.",
            "Leave it out for the usual value.",
        )
