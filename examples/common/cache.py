"""Where examples keep what takes long to compute: poses, dose matrices."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder in `EXAMPLES_CACHE`, or in ~/.cache/textgrad-mcp-examples; it is made.

    An evaluator's HOME is a directory that is removed after each run, so the user's own is asked
    of the system.
    """
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    whole = os.environ.get("EXAMPLES_CACHE") or home / ".cache" / "textgrad-mcp-examples"
    folder = Path(whole) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
