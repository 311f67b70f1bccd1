"""The bundle for desktop clients, built, unpacked and started as its manifest says."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from .. import npm
from ..helpers import Tools
from ..test_packages import ROOT
from ..tour import TOOLS, tour

UV = shutil.which("uv")
pytestmark = [
    *npm.needs_clients,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        UV is None, reason="the bundle's manifest starts it by uv, which is missing"
    ),
]


def started_by(folder: Path, database: Path) -> StdioServerParameters:
    """What a client makes of the manifest when its user has filled in nothing."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["server"]["mcp_config"]
    known = {"${__dirname}": str(folder)}
    known |= {f"${{user_config.{k}}}": v["default"] for k, v in manifest["user_config"].items()}

    def filled(word: str) -> str:
        for name, value in known.items():
            word = word.replace(name, value)
        assert "${" not in word
        return word

    ours = {name for name in os.environ if name.startswith(("TEXTGRAD_MCP_", "PYTHON"))}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {name: filled(value) for name, value in config["env"].items()}
    return StdioServerParameters(
        command=config["command"],
        args=[filled(word) for word in config["args"]],
        env={**env, "TEXTGRAD_MCP_DATABASE": str(database)},
    )


def test_the_bundle_that_make_builds_serves_an_optimisation(tmp_path: Path) -> None:
    made = subprocess.run(["make", "mcpb"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    folder = tmp_path / "bundle"
    with zipfile.ZipFile(ROOT / "dist" / "textgrad-mcp.mcpb") as bundle:
        bundle.extractall(folder)

    async def main() -> None:
        async with Client(started_by(folder, tmp_path / "t.db")) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            await tour(Tools(client))

    asyncio.run(main())
