"""The composition in deploy: its parts fit the program, and what stands in front of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import yaml
from textgrad_mcp.server.cli.main import parser
from textgrad_mcp.server.http.addresses import networks, within
from textgrad_mcp.server.http.tokens import new_token
from textgrad_mcp.server.settings.sources import from_environment

from ..helpers import Facts, Tools, own_environment
from ..interrupted import ARGUMENTS, Hanging, model, prepared
from ..postgres_server import Server, as_postgres, free_port, server
from ..standin import StandIn
from ..users import user

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


@contextmanager
def running(command: list[str], said: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process; what it says is in the file `said`."""
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, **more)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


def pooler(folder: Path, database: Server, name: str, port: int) -> list[str]:
    """The command of the pooler, before a database of the tests' server."""
    text = (DEPLOY / "pgbouncer.ini").read_text("utf-8")
    for word, here in {
        "host=postgres port=5432": f"host=127.0.0.1 port={database.port}",
        "dbname=textgrad": f"dbname={name}",
        "listen_addr = *": "listen_addr = 127.0.0.1",
        "listen_port = 6432": f"listen_port = {port}",
        "/etc/pgbouncer/userlist.txt": f"{folder}/userlist.txt",
    }.items():
        assert word in text
        text = text.replace(word, here)
    (folder / "pgbouncer.ini").write_text(text, encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o644)
    return [*as_postgres(), "pgbouncer", str(folder / "pgbouncer.ini")]


def replica(service: dict[str, Any], tokens: Path, port: int) -> list[str]:
    """The command of a replica, on a port of loopback."""
    here = {"--host=0.0.0.0": f"--port={port}", "--tokens=/data/tokens": f"--tokens={tokens}"}
    words = [here.get(word, word) for word in service["command"]]
    words = [word if not word.startswith("--proxy=") else "--proxy=127.0.0.1" for word in words]
    return [sys.executable, "-m", "textgrad_mcp.server.cli", *words]


def ready(url: str, said: Path) -> None:
    """Wait until a server is ready."""
    for _ in range(600):
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(said.read_text())


def at_work(urls: list[str], eye: str) -> int | None:
    """Which replica has a run under way, by what it tells the watcher."""
    headers = {"Authorization": f"Bearer {eye}"}
    for n, url in enumerate(urls):
        if "textgrad_runs 1.0" in httpx2.get(f"{url}/metrics", headers=headers).text:
            return n
    return None


async def optimised(
    url: str, token: str, folder: Path, hanging: Hanging, kill: Callable[[], None]
) -> Facts:
    """An optimisation, during which a replica is killed once some of it is recorded."""
    async with user(url, token) as client:
        call = Tools(client)
        s = await prepared(call, folder)
        hanging.left = 45
        arguments = {"session_id": s, **ARGUMENTS}
        begun = asyncio.create_task(client.call_tool("optimize", arguments))
        while (await call("inspect", session_id=s))["view"]["total"]["calls"] < 46:
            pass
        await asyncio.to_thread(kill)
        hanging.left = float("inf")
        await asyncio.gather(begun, return_exceptions=True)
        done = await call("resume", session_id=s)
        while done["status"] == "running":
            done = await call("resume", session_id=s)
        return done


@pytest.mark.requirement("deployed", "any-replica")
@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(
    shutil.which("nginx") is None or shutil.which("pgbouncer") is None,
    reason="nginx and pgbouncer are not both on this machine",
)
def test_the_parts_serve_together_and_go_on_when_a_replica_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the containers themselves: their commands and files, with addresses of loopback."""
    own_environment(monkeypatch, tmp_path)
    tokens, hanging = tmp_path / "tokens", Hanging()
    ann, eye = new_token(tokens, "ann"), new_token(tokens, "prometheus")
    pool, *ports, front = (free_port() for _ in range(4))
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with (
        StandIn(reply=model, faults=hanging) as endpoint,
        server() as database,
        TemporaryDirectory() as shared,
        ExitStack() as stack,
    ):
        folder = Path(shared)
        folder.chmod(0o755)
        (folder / "userlist.txt").write_text(made_secrets(tmp_path)["userlist.txt"])
        password = (tmp_path / "secrets" / "database_password").read_text()
        settings = {
            "TEXTGRAD_MCP_DATABASE_PASSWORD": password,
            "TEXTGRAD_MCP_BASE_URL": endpoint.url,
            "TEXTGRAD_MCP_MODEL": "stand-in",
            "TEXTGRAD_MCP_DATA_DIR": str(tmp_path),
        }
        name = database.empty()
        command = [sys.executable, "-m", "textgrad_mcp.server.cli"]
        direct = settings | {"TEXTGRAD_MCP_DATABASE": database.url(name)}
        migrate = [*command, *SERVICES["migrate"]["command"]]
        subprocess.run(migrate, env=os.environ | direct, check=True, timeout=60)
        stack.enter_context(running(pooler(folder, database, name, pool), tmp_path / "pool.log"))
        pooled = settings | {
            "TEXTGRAD_MCP_DATABASE": f"postgresql://textgrad@127.0.0.1:{pool}/textgrad"
        }
        each = []
        for n, port in enumerate(ports):
            said = tmp_path / f"replica{n}.log"
            words = replica(SERVICES["replica-1"], tokens, port)
            each.append(stack.enter_context(running(words, said, env=os.environ | pooled)))
            ready(urls[n], said)
        places = {f"replica-{n + 1}:8000": port for n, port in enumerate(ports)} | {"8080": front}
        stack.enter_context(running(balancer(tmp_path, places), tmp_path / "nginx.log"))
        url = f"http://127.0.0.1:{front}"
        ready(url, tmp_path / "nginx.log")
        shown = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {eye}"})
        assert shown.status_code == 404

        def kill() -> None:
            found = at_work(urls, eye)
            assert found is not None
            each[found].kill()

        done = asyncio.run(optimised(url, ann, tmp_path, hanging, kill))
    assert (done["status"], done["stopped"]) == ("done", "goal")
