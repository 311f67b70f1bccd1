"""What makes two calls the same call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest_of(tool: str, args: Mapping[str, Any]) -> str:
    """A digest of a tool's name and arguments: two calls with the same one are the same call."""
    text = json.dumps([tool, args], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
