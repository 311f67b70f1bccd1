"""The composition in deploy: its parts fit the program, and what stands in front of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from textgrad_mcp.server.cli.main import parser
from textgrad_mcp.server.http.addresses import networks, within
from textgrad_mcp.server.settings.sources import from_environment

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "textgrad-mcp:fleet"]


def made_secrets(folder: Path) -> dict[str, str]:
    """What the script that makes secrets has made, in a copy of the folder."""
    if not (folder / "secrets.sh").exists():
        shutil.copy(DEPLOY / "secrets.sh", folder)
    subprocess.run(["sh", str(folder / "secrets.sh")], check=True, timeout=20)
    found = sorted((folder / "secrets").iterdir())
    return {file.name: file.read_text("ascii") for file in found}


@pytest.mark.requirement("deployed")
@pytest.mark.parametrize("name", OURS)
def test_what_a_container_runs_is_a_command_with_settings_that_there_are(name: str) -> None:
    service = SERVICES[name]
    entry = service.get("entrypoint", ["textgrad-mcp"])
    words = [*entry[1:], *(service["command"] or ["OWNER"])]
    args = parser().parse_args(words)
    assert callable(args.run)
    layer = from_environment(service["environment"])
    [(database, _)] = [found for key, found in layer.items() if key == "database"]
    assert "textgrad@" in str(database)


@pytest.mark.requirement("deployed")
def test_two_replicas_differ_in_nothing_and_believe_the_balancers_network_alone() -> None:
    first, second = (SERVICES[name] for name in ("replica-1", "replica-2"))
    assert first == second
    args = parser().parse_args(first["command"])
    [subnet] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert args.proxy == [subnet["subnet"]]
    assert within("10.203.0.7", networks(args.proxy))
    assert args.stateless


@pytest.mark.requirement("deployed")
def test_whatever_is_mounted_or_read_is_in_the_folder_or_made_by_its_script(tmp_path: Path) -> None:
    made = made_secrets(tmp_path)
    files = [COMPOSE["secrets"][name]["file"] for name in COMPOSE["secrets"]]
    for service in SERVICES.values():
        files += [service["env_file"]] if "env_file" in service else []
        mounted = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        files += [one for one in mounted if one not in COMPOSE["volumes"]]
    for file in files:
        path = Path(file)
        assert path.name in made if path.parts[0] == "secrets" else (DEPLOY / path).exists(), file


@pytest.mark.requirement("deployed", "keys-hidden")
def test_secrets_are_made_once_and_are_one_password_in_three_forms(tmp_path: Path) -> None:
    made = made_secrets(tmp_path)
    password = made["database_password"]
    assert len(password) == 64
    assert made["userlist.txt"] == f'"textgrad" "{password}"\n'
    [line] = made["replica.env"].splitlines()
    assert line.partition("=")[2] == password
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert made_secrets(tmp_path) == made


def balancer(folder: Path, ports: dict[str, int]) -> list[str]:
    """The command of the balancer, with ports of loopback in the place of the containers'."""
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for name, port in ports.items():
        assert name in text
        text = text.replace(name, f"127.0.0.1:{port}")
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    here = f"pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;"
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", here]


@pytest.mark.requirement("deployed")
@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx on this machine")
def test_the_balancer_takes_its_configuration(tmp_path: Path) -> None:
    ports = {"replica-1:8000": 1, "replica-2:8000": 2, "8080": 3}
    command = balancer(tmp_path, ports)
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
