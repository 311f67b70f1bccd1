"""Clients and suites from npm: installed beside tests/clients/package.json by `make clients`.

Tests that need them are skipped where they are not installed, unless CLIENTS_REQUIRED is set: a
machine that has Node must not pass by skipping.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"
MODULES = CLIENTS / "node_modules"
INSTALLED = (MODULES / ".package-lock.json").exists()
REQUIRED = bool(os.environ.get("CLIENTS_REQUIRED"))

needs_clients = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not INSTALLED and not REQUIRED,
        reason="clients from npm are not installed: `make clients` (needs Node)",
    ),
]
"""Marks of a test module that needs what is installed from npm."""


def node() -> str:
    """Node 22: the one from npm where there is one for this machine, else the machine's own.

    Fails the test if neither is there.
    """
    assert INSTALLED, "CLIENTS_REQUIRED is set and nothing is installed: run `make clients`"
    found = shutil.which("node", path=MODULES / ".bin") or shutil.which("node")
    assert found, "npm has no Node for this machine; install Node 22 or newer"
    return found


def run(
    program: str | Path, args: Sequence[str], *, home: Path, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """A finished run of an installed program (a name) or of a script (a path).

    `home` is where it may leave files; `timeout` is in seconds. A failure is the caller's to see.
    """
    script = MODULES / ".bin" / program if isinstance(program, str) else program
    return subprocess.run(
        [node(), str(script), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )
