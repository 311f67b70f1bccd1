"""The page's modules by themselves, in Node where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent / "server" / "page"
TESTS = Path(__file__).parent.parent.parent / "page_modules" / "modules.test.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_the_modules_do_what_they_say(tmp_path: Path) -> None:
    for path in ROOT.glob("*.js"):
        text = re.sub(r'from "\./(\w+)\.js"', r'from "./\1.mjs"', path.read_text(encoding="utf-8"))
        (tmp_path / f"{path.stem}.mjs").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["node", "--test", str(TESTS)],
        env={**os.environ, "PAGE": tmp_path.as_uri()},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout
