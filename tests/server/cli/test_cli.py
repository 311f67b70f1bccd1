"""The command line, in-process where that shows the same, else as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from textgrad_mcp.server.cli.main import main

from ...helpers import own_environment, printed_by


@pytest.fixture(autouse=True)
def _an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


COMMAND = [sys.executable, "-m", "textgrad_mcp.server.cli"]


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a command that succeeds prints."""
    assert main(argv) == 0
    return capsys.readouterr().out


def settings_shown(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, dict[str, object]]:
    """The settings that `config --json` prints."""
    found: dict[str, dict[str, object]] = json.loads(shown(capsys, *argv))["settings"]
    return found


def test_config_shows_every_setting_with_its_value_and_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGRAD_MCP_FORWARD_MODEL", "small")
    text = shown(capsys, "config", "--backward-base-url", "http://127.0.0.1:9/v1")
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in text.splitlines() if line}
    assert lines["forward.model"] == ["small", "environment TEXTGRAD_MCP_FORWARD_MODEL"]
    assert lines["backward.base_url"] == ["http://127.0.0.1:9/v1", "command line"]
    assert lines["soft_deadline"] == ["45.0", "default"]
    assert "forward: answered by small at OpenAI" in text
    assert "backward: answered by the only model at http://127.0.0.1:9/v1" in text


@pytest.mark.requirement("keys-hidden")
def test_config_never_shows_a_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGRAD_MCP_API_KEY", "sk-very-secret")
    monkeypatch.setenv("TEXTGRAD_MCP_BASE_URL", "http://user:pass-word@host/v1?token=hidden")
    for extra in ([], ["--json"]):
        text = shown(capsys, "config", *extra)
        assert "http://host/v1" in text
        assert not [s for s in ("very-secret", "pass-word", "hidden") if s in text]
    found = settings_shown(capsys, "config", "--json")
    assert found["forward.api_key"]["value"] == "set"
    assert found["forward.api_key"]["origin"] == "environment TEXTGRAD_MCP_API_KEY"


def test_config_as_json_says_who_answers_and_from_which_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "my.toml"
    path.write_text(
        '[forward]\nbase_url = "http://127.0.0.1:9/v1"\n[evaluators.e]\ncommand = ["x"]'
    )
    view = json.loads(shown(capsys, "config", "--json", "--config", str(path)))
    assert view["file"] == str(path)
    assert view["answerers"] == {"forward": "openai", "backward": "assistant"}
    assert view["settings"]["evaluators.e.command"]["value"] == ["x"]


def test_flags_may_stand_before_and_after_the_command_and_none_replaces_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = ["--model", "m", "--set", "forward.timeout=5", "--set", "minibatch=2"]
    after = ["--set", "backward.timeout=6", "--database", "a.db"]
    found = settings_shown(capsys, *before, "config", "--json", *after)
    names = ["forward.model", "forward.timeout", "backward.timeout", "minibatch", "database"]
    assert [found[name]["value"] for name in names] == ["m", 5.0, 6.0, 2, "a.db"]


@pytest.mark.parametrize(
    "argv",
    [
        ["config", "--set", "forward.modle=x"],
        ["--config", "/no/such/file", "serve"],
        ["--answerer", "gpt"],
        ["demo", "--set", "database.x=1"],
        ["serve", "--http", "--base-url", "nonsense"],
        ["nonsense"],
        ["--set", "noequals"],
        ["serve", "--port", "x"],
        ["model"],
        ["sessions", "list", "--jsno"],
        *(["serve", "--http", "--per-minute", n] for n in ("0", "-1", "nan", "inf", "1e99", "x")),
        *(["serve", "--http", "--burst", n] for n in ("0", "-inf", "nan", "9" * 400)),
        *(["serve", "--http", "--port", n] for n in ("-1", "65536", "8e3", "9" * 5000)),
        ["serve", "--http", "--connections", "0"],
        ["serve", "--http", "--jwt-leeway", "-1"],
        ["serve", "--http", "--proxy", "0.0.0.0/0"],
        ["token", "new", "ann", "--tokens", "/no/such/file", "--days", "nan"],
        ["token", "new", "ann", "--tokens", "/no/such/file", "--days", "1e300"],
        ["sessions", "prune", "--older-than", "-5"],
        ["demo", "--steps", "0"],
        ["demo", "--seed", "9" * 5000],
        ["model", "serve", "--port", "70000"],
        *(["config", "--set", f"soft_deadline={n}"] for n in ("nan", "inf", "0", "-1", "1e999")),
        ["config", "--set", "forward.price_prompt=nan"],
        ["config", "--set", 'session_budget={"cost": NaN}'],
        ["config", "--set", 'forward.params={"temperature": Infinity}'],
        ["config", "--set", f"quota_sessions={'9' * 400}"],
        ["config", "--set", "forward.params=" + "[" * 100_000],
    ],
)
def test_an_error_is_one_clear_line_and_exit_code_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    plain = capsys.readouterr()
    assert plain.out == ""
    assert plain.err.startswith("textgrad-mcp: ")
    assert plain.err.count("\n") == 1
    assert main([*argv, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    facts = json.loads(captured.err)
    assert facts["status"] == "failed"
    assert facts["error"]
    assert facts["next"]


def test_an_argument_that_does_not_exist_is_answered_with_where_to_read_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["model", "pul"]) == 2
    said = capsys.readouterr().err
    assert "invalid choice: 'pul'" in said
    assert [name for name in ("pull", "list", "serve") if name not in said] == []
    assert "See textgrad-mcp model --help." in said


def test_help_explains_the_server_and_shows_a_first_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    for words in (
        "MCP server",
        "first use",
        "mcpServers",
        "serve",
        "config",
        "demo",
        "OPENAI_API_KEY",
    ):
        assert words in text


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("textgrad-mcp ")


def test_a_server_starts_without_the_engine_the_database_and_the_client_library() -> None:
    code = (
        "import sys; from textgrad_mcp.server.protocol.app import build\n"
        "from textgrad_mcp.schemas.settings import Settings\n"
        "build(Settings())\n"
        "later = {'textgrad_mcp.engine.engine', 'textgrad_mcp.engine.store', 'sqlite3', 'openai'}\n"
        "print(sorted(later & set(sys.modules)))"
    )
    assert printed_by(code) == "[]"


def test_the_command_line_imports_nothing_heavy_before_it_knows_what_to_do() -> None:
    code = (
        "import sys; from textgrad_mcp.server.cli.main import parser; parser()\n"
        "heavy = {'mcp', 'openai', 'httpx2', 'pydantic', 'sqlite3', 'platformdirs', 'shtab',"
        " 'opentelemetry', 'textgrad_mcp.server.terminal'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert printed_by(code) == "[]"


def test_without_a_command_it_serves_stdio_until_the_client_hangs_up() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(hello) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        server.stdin.close()
        assert server.stdout.read() == ""
        assert server.wait(30) == 0
    assert answer["result"]["serverInfo"]["name"] == "textgrad-mcp"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_it_says_that_it_waits_for_a_client() -> None:
    mine, its = os.openpty()
    try:
        with subprocess.Popen(
            COMMAND, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr
            said = server.stderr.readline()
            os.write(mine, b"\x04")  # Ctrl-D
            assert server.wait(30) == 0
    finally:
        os.close(mine)
        os.close(its)
    assert "MCP server" in said
    assert "--help" in said


def test_a_configuration_with_a_mistake_ends_the_process_without_a_traceback() -> None:
    environ = {**os.environ, "TEXTGRAD_MCP_MODLE": "x"}
    done = subprocess.run(
        COMMAND, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "TEXTGRAD_MCP_MODEL" in done.stderr
    assert "Traceback" not in done.stderr
