"""Parameters bound to files: read, guarded against outside changes, written only when asked."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import TextContent
from textgrad_mcp.engine.data.workspace import Workspace
from textgrad_mcp.schemas.errors import BadInput, Conflict
from textgrad_mcp.schemas.graph import Kind, Variable
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import build

Facts = dict[str, Any]
Call = Callable[..., Awaitable[Facts]]
OLD = "Be terse. {braces}\r\n"
NEW = "Be terse, and kind."


def drive(workspace: Path | None, scenario: Callable[[Call], Awaitable[None]]) -> None:
    """Run `scenario` against a server whose completions the caller writes."""

    async def main() -> None:
        database = Path(os.environ["PYTEST_TMP"]) / "t.db"
        settings = Settings(database=database, workspace=workspace)
        async with Client(build(settings)) as client:

            async def call(tool: str, **arguments: Any) -> Facts:
                result = await client.call_tool(tool, arguments)
                block = result.content[0]
                assert isinstance(block, TextContent)
                return (result.structured_content or {}) | {"text": block.text}

            await scenario(call)

    asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that holds prompts/system.txt."""
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))
    root = tmp_path / "workspace"
    (root / "prompts").mkdir(parents=True)
    file = root / "prompts" / "system.txt"
    file.write_bytes(OLD.encode())
    file.chmod(0o640)
    return root


async def bound(call: Call, **more: Any) -> str:
    """A session whose v1 is bound to the file and judged once."""
    made = await call("create_variable", role="prompt", file="prompts/system.txt", **more)
    session: str = made["session_id"]
    judged = await call(
        "compute_loss", session_id=session, kind="judge", inputs={"x": "v1"}, instruction="Kind?"
    )
    answer = {"feedback": "Not kind.", "score": 0.2}
    done = await call(
        "resume", session_id=session, completions={judged["pending"][0]["id"]: answer}
    )
    assert done["status"] == "done"
    return session


async def stepped(call: Call, session: str, **more: Any) -> Facts:
    """backward and step, the proposal being NEW."""
    await call("backward", session_id=session)
    asked = await call("step", session_id=session, **more)
    answers = {p["id"]: {"value": NEW} for p in asked["pending"]}
    return await call("resume", session_id=session, completions=answers)


@pytest.mark.requirement("bound-files")
def test_the_value_is_the_files_text_exactly(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        made = await call("create_variable", role="prompt", file="prompts/system.txt")
        seen = await call("inspect", session_id=made["session_id"], id="v1")
        assert seen["view"]["text"] == OLD
        assert seen["view"]["variable"]["file"] == "prompts/system.txt"

    drive(folder, scenario)


@pytest.mark.requirement("bound-files")
def test_an_accepted_step_is_written_with_the_same_mode_when_asked(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        session = await bound(call, write=True)
        done = await stepped(call, session)
        file = folder / "prompts" / "system.txt"
        assert done["accepted"] is True
        assert file.read_bytes() == f"{NEW}\r\n".encode()  # its last line ends as before
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert [p.name for p in file.parent.iterdir()] == ["system.txt"]
        back = await call("revert", session_id=session, variable="v1", version=1)
        assert back["version"] == 3
        assert file.read_bytes() == OLD.encode()

    drive(folder, scenario)


@pytest.mark.requirement("bound-files")
def test_a_file_is_left_alone_unless_writing_was_asked_for(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        session = await bound(call)
        done = await stepped(call, session)
        assert done["accepted"] is True
        assert (folder / "prompts" / "system.txt").read_bytes() == OLD.encode()
        again = await call("forward", session_id=session)
        assert again["status"] == "needs_completions"  # the new text is used all the same

    drive(folder, scenario)


@pytest.mark.requirement("bound-files")
def test_a_refused_step_writes_nothing(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        session = await bound(call, write=True)
        done = await stepped(call, session, accept="never")
        assert done["accepted"] is False
        assert (folder / "prompts" / "system.txt").read_bytes() == OLD.encode()

    drive(folder, scenario)


@pytest.mark.requirement("changed-underneath")
def test_a_file_changed_outside_is_refused_and_revert_takes_it_in(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        session = await bound(call, write=True)
        file = folder / "prompts" / "system.txt"
        file.write_text("Edited by hand.")
        refused = await call("backward", session_id=session)
        assert refused["status"] == "failed"
        assert "changed outside" in refused["text"]
        assert "revert(session_id, variable='v1')" in refused["text"]
        kept = await call("revert", session_id=session, variable="v1", version=1)
        assert kept["status"] == "failed"
        assert file.read_text() == "Edited by hand."
        taken = await call("revert", session_id=session, variable="v1")
        assert taken["version"] == 2
        back = await call("revert", session_id=session, variable="v1", version=1)
        assert back["version"] == 3
        assert file.read_bytes() == OLD.encode()

    drive(folder, scenario)


@pytest.mark.requirement("changed-underneath")
def test_a_change_outside_during_a_step_is_never_overwritten(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        session = await bound(call, write=True)
        await call("backward", session_id=session)
        asked = await call("step", session_id=session)
        file = folder / "prompts" / "system.txt"
        file.write_text("Edited by hand.")
        answers = {p["id"]: {"value": NEW} for p in asked["pending"]}
        done = await call("resume", session_id=session, completions=answers)
        assert done["status"] == "failed"
        assert file.read_text() == "Edited by hand."

    drive(folder, scenario)


@pytest.mark.requirement("bound-files")
def test_an_interrupted_write_is_finished_at_the_next_use(folder: Path) -> None:
    workspace = Workspace(folder, 1000)
    _, binding = workspace.bind("prompts/system.txt", write=True)
    newer = Variable(id="v1", kind=Kind.PARAMETER, role="p", value=NEW, version=2, file=binding)
    assert workspace.reconcile(newer) is not None
    assert (folder / "prompts" / "system.txt").read_bytes() == NEW.encode()
    assert workspace.reconcile(newer) is not None  # written, but not yet noted
    newer.value = "Never written."
    newer.file = None
    assert workspace.reconcile(newer) is None


@pytest.mark.requirement("bound-files")
def test_a_failed_write_leaves_the_file_and_no_litter(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    workspace = Workspace(folder, 1000)
    _, binding = workspace.bind("prompts/system.txt", write=True)
    (folder / "prompts").chmod(0o500)
    newer = Variable(id="v1", kind=Kind.PARAMETER, role="p", value=NEW, version=2, file=binding)
    with pytest.raises(Conflict, match="could not be written"):
        workspace.reconcile(newer)
    (folder / "prompts").chmod(0o700)
    assert [p.name for p in (folder / "prompts").iterdir()] == ["system.txt"]
    assert (folder / "prompts" / "system.txt").read_bytes() == OLD.encode()


@pytest.mark.requirement("confined-files")
@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "prompts/../../outside.txt",
        "/etc/hostname",
        "",
        ".",
        "a\\b",
        "a\x00b",
        ".git/config",
        "prompts/.env",
        "no/such.txt",
        "prompts",
        "link.txt",
        "links/system.txt",
        "hard.txt",
        "binary.bin",
        "latin.txt",
        "huge.txt",
        "pipe",
    ],
)
def test_what_is_no_plain_text_file_beneath_the_workspace_is_refused(
    folder: Path, name: str
) -> None:
    (folder.parent / "outside.txt").write_text("secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]")
    (folder / "prompts" / ".env").write_text("KEY=1")
    (folder / "link.txt").symlink_to(folder / "prompts" / "system.txt")
    (folder / "links").symlink_to(folder / "prompts")
    os.link(folder.parent / "outside.txt", folder / "hard.txt")
    (folder / "binary.bin").write_bytes(b"PK\x00\x01")
    (folder / "latin.txt").write_bytes("naïve".encode("latin-1"))
    (folder / "huge.txt").write_text("x" * 1001)
    os.mkfifo(folder / "pipe")
    with pytest.raises(BadInput):
        Workspace(folder, 1000).read(name)


@pytest.mark.requirement("confined-files")
def test_a_file_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(BadInput, match="another user"):
        Workspace(folder, 1000).read("prompts/system.txt")


@pytest.mark.requirement("confined-files")
def test_without_a_workspace_files_are_refused_with_the_way_out(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        refused = await call("create_variable", role="prompt", file="prompts/system.txt")
        assert refused["status"] == "failed"
        assert "--workspace" in refused["text"]

    drive(None, scenario)


@pytest.mark.requirement("bound-files")
def test_only_a_parameters_file_can_be_written(folder: Path) -> None:
    async def scenario(call: Call) -> None:
        for more in ({"value": "x"}, {"file": "prompts/system.txt", "requires_grad": False}):
            refused = await call("create_variable", role="prompt", write=True, **more)
            assert "write=true goes with file" in refused["text"]

    drive(folder, scenario)
