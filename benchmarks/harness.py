"""What the benchmarks share: processes that are ended, repetitions, ratios, tables."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TEXTGRAD = "textgrad==0.1.8"
MEMORY_DISK = Path("/dev/shm")


@dataclass(frozen=True)
class Row:
    """One line of the report: what was measured, the bar, the figure, and whether it is met."""

    what: str
    bar: str
    figure: str
    met: bool | None = None
    detail: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A running loopback endpoint."""

    url: str

    def log(self) -> list[dict[str, Any]]:
        """Every request so far, in the order they came."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/log", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)["requests"]
        return found


@contextmanager
def endpoint(latency: float = 0.0, sigma: float = 0.0) -> Iterator[Endpoint]:
    """The endpoint in a process of its own; latency in seconds (the median, with `sigma`)."""
    command = [sys.executable, str(HERE / "endpoint.py")]
    command += ["--latency", str(latency), "--sigma", str(sigma)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Endpoint(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()


@contextmanager
def scratch(on: Path | None = None) -> Iterator[Path]:
    """A directory that is removed afterwards; `on` names another place than the usual."""
    with tempfile.TemporaryDirectory(prefix="textgrad-mcp-bench-", dir=on) as name:
        yield Path(name)


def textgrad_python() -> Path:
    """The interpreter of the environment that holds the TextGrad package."""
    return Path(os.environ.get("BENCH_TEXTGRAD_PYTHON") or ROOT / ".venv-bench" / "bin" / "python")


def textgrad_steps(url: str, shape: str, size: int, steps: int) -> list[float]:
    """Seconds of each step that the TextGrad package makes; with an empty cache."""
    with scratch() as cache:
        env = os.environ | {
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "none",
            "XDG_CACHE_HOME": str(cache),
            "TEXTGRAD_LOG_DIR": str(cache / "logs"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": "",
        }
        command = [str(textgrad_python()), str(HERE / "textgrad_side.py"), shape, str(size)]
        done = subprocess.run(
            [*command, str(steps)], env=env, cwd=cache, capture_output=True, text=True, timeout=1800
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line)["seconds"] for line in lines]


def spread(values: Sequence[float], unit: float = 1.0, digits: int = 2) -> str:
    """The median and, in brackets, the lowest and the highest, in `unit`s."""
    scaled = [v / unit for v in values]
    low, high = min(scaled), max(scaled)
    return f"{statistics.median(scaled):.{digits}f} [{low:.{digits}f} to {high:.{digits}f}]"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Our median over theirs."""
    return statistics.median(ours) / statistics.median(theirs)


def tokens(body: dict[str, Any]) -> int:
    """Prompt tokens of one request, by the rule of one for every four characters."""
    return -(-sum(len(str(m["content"])) for m in body["messages"]) // 4)


def verdict(met: bool | None) -> str:
    """A word for the table."""
    return {True: "met", False: "**missed**", None: "stated"}[met]


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    lines = ["| what | bar | measured | |", "|---|---|---|---|"]
    lines += [f"| {r.what} | {r.bar} | {r.figure} | {verdict(r.met)} |" for r in rows]
    return "\n".join(lines)


def machine() -> str:
    """The machine and the versions, in one line."""
    from importlib.metadata import version

    names = ("mcp", "openai", "httpx2", "pydantic")
    cpu = _cpu()
    return (
        f"{os.cpu_count()} x {cpu}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{n} {version(n)}" for n in names)
        + f", {TEXTGRAD}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
