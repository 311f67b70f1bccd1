"""What others list, bundle and build us by says the same as the package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.settings.sources import from_environment

from .test_packages import ROOT, project

FILES = ["server.json", "mcpb/manifest.json"]


def loaded(path: str) -> dict[str, Any]:
    """A JSON file of the repository."""
    content: dict[str, Any] = json.loads((ROOT / path).read_text(encoding="utf-8"))
    return content


def text(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def settings_named(path: str) -> set[str]:
    """The environment variables of ours that a file names."""
    return set(re.findall(r"\bTEXTGRAD_MCP_\w+", text(path)))


@pytest.mark.parametrize("path", FILES)
def test_the_version_is_the_packages(path: str) -> None:
    version = project()["project"]["version"]
    content = loaded(path)
    assert {content["version"], *(p["version"] for p in content.get("packages", []))} == {version}


def test_the_registry_finds_its_name_in_the_readme_that_is_published() -> None:
    readme = text(project()["project"]["readme"])
    assert re.findall(r"<!-- mcp-name: (\S+) -->", readme) == [loaded("server.json")["name"]]


def test_the_registrys_entry_names_the_package_and_keeps_to_the_registrys_limits() -> None:
    entry = loaded("server.json")
    assert [p["identifier"] for p in entry["packages"]] == [project()["project"]["name"]]
    assert [p["transport"] for p in entry["packages"]] == [{"type": "stdio"}]
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    assert 3 <= len(entry["name"]) <= 200
    assert 1 <= len(entry["description"]) <= 100
    assert 1 <= len(entry["title"]) <= 100


@pytest.mark.parametrize("path", [*FILES, "Dockerfile"])
def test_every_variable_that_is_offered_is_a_setting(path: str) -> None:
    named = settings_named(path)
    assert named
    from_environment(dict.fromkeys(named, "http://127.0.0.1/v1"))


def test_a_variable_that_is_no_setting_would_be_noticed() -> None:
    with pytest.raises(BadInput, match="TEXTGRAD_MCP_MODELL"):
        from_environment({"TEXTGRAD_MCP_MODELL": "x"})


def test_keys_are_kept_as_secrets_wherever_they_are_asked_for() -> None:
    [package] = loaded("server.json")["packages"]
    secret = {v["name"] for v in package["environmentVariables"] if v.get("isSecret")}
    manifest = loaded("mcpb/manifest.json")
    asked = {name for name, field in manifest["user_config"].items() if field.get("sensitive")}
    given = manifest["server"]["mcp_config"]["env"]
    hidden = {name for name, value in given.items() if value[len("${user_config.") : -1] in asked}
    assert secret == hidden == {n for n in settings_named("server.json") if n.endswith("_KEY")}


def test_the_bundle_starts_a_file_that_is_packed_and_asks_only_for_what_it_declares() -> None:
    manifest = loaded("mcpb/manifest.json")
    entry = manifest["server"]["entry_point"]
    [packed] = re.findall(r"^BUNDLE := (.*)$", text("Makefile"), re.MULTILINE)
    assert entry in packed.split()
    assert entry in manifest["server"]["mcp_config"]["args"]
    assert all((ROOT / path).exists() for path in packed.split())
    given = manifest["server"]["mcp_config"]["env"].values()
    assert set(given) == {f"${{user_config.{name}}}" for name in manifest["user_config"]}


def test_the_bundle_packs_every_layer() -> None:
    folders = {Path(p).parts[0] for p in project()["tool"]["setuptools"]["package-dir"].values()}
    [packed] = re.findall(r"^BUNDLE := (.*)$", text("Makefile"), re.MULTILINE)
    assert folders <= set(packed.split())


def test_the_image_carries_the_registrys_name_and_starts_the_installed_command() -> None:
    dockerfile = text("Dockerfile")
    name = re.findall(r'io\.modelcontextprotocol\.server\.name="([^"]+)"', dockerfile)
    assert name == [loaded("server.json")["name"]]
    [command] = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert json.loads(command) == list(project()["project"]["scripts"])


def test_the_clients_page_names_the_versions_that_the_tests_run() -> None:
    wanted = loaded("tests/clients/package.json")["dependencies"]
    page = text("docs/clients.md")
    missing = {name: version for name, version in wanted.items() if version not in page}
    assert missing == {}
    locked = loaded("tests/clients/package-lock.json")["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
