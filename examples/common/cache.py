"""Where examples keep what takes long to compute: poses, dose matrices."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def cache_root() -> Path:
    """`EXAMPLES_CACHE`, or ~/.cache/textgrad-mcp-examples.

    An evaluator's HOME is a directory that is removed after each run, so the user's own is asked
    of the system.
    """
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return Path(os.environ.get("EXAMPLES_CACHE") or home / ".cache" / "textgrad-mcp-examples")


def cache_folder(name: str) -> Path:
    """A folder in it, which is made."""
    folder = cache_root() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
