"""Files beneath the workspace that parameters are bound to: read, compared and replaced whole.

A path is walked from the workspace down, one directory at a time, each opened without following
links, so that nothing can be swapped for a link between the check and the use.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ...schemas.errors import BadInput, Conflict
from ...schemas.graph import FileBinding, Variable

BYTES_PER_CHAR = 4
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
ELSEWHERE = (
    "Name a plain text file by its path relative to the workspace, or give its text as value."
)


def digest(text: str) -> str:
    """The SHA-256 of a file's content, in hex, by which a change of it is seen."""
    return hashlib.sha256(text.encode()).hexdigest()


class Workspace:
    """The directory that the operator allowed, if any. Files of at most `most` characters."""

    def __init__(self, root: Path | None, most: int) -> None:
        self._root = root
        self._most = most

    def read(self, name: str) -> str:
        """The text of a file, exactly as it is. Raises BadInput for one that cannot be bound."""
        with self._folder(name) as (folder, last):
            return self._read(folder, last, name)

    def reconcile(self, variable: Variable) -> str | None:
        """Bring a file and the variable bound to it together; the new digest, if it has changed.

        A file that is as we left it is written when the variable has a newer text and writing was
        asked for: this is also how a write that was interrupted is finished.
        Raises Conflict for a file that somebody else has changed.
        """
        binding, value = variable.file, variable.value or ""
        if binding is None:
            return None
        with self._folder(binding.path) as (folder, last):
            now = digest(self._read(folder, last, binding.path))
            if now not in (digest(value), binding.digest):
                raise changed_outside(binding.path, variable.id)
            if now != digest(value) and binding.write:
                now = _replace(folder, last, value, binding.path)
        return now if now != binding.digest else None

    def bind(self, name: str, *, write: bool) -> tuple[str, FileBinding]:
        """A file's text, and the binding to it. Raises BadInput."""
        text = self.read(name)
        return text, FileBinding(path=name, write=write, digest=digest(text))

    def picture(self, name: str) -> str | None:
        """A picture's data URL, or None for a file whose name is no picture's. Raises BadInput."""
        kind = mimetypes.guess_type(name)[0] or ""
        if kind not in PICTURES:
            return None
        with self._folder(name) as (folder, last):
            data = self._bytes(folder, last, name)
        url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        if len(url) > self._most:
            most = f"{self._most * 3 // 4:,}"
            raise BadInput(f"{name!r} has more than {most} bytes.", "Make the picture smaller.")
        return url

    @contextmanager
    def _folder(self, name: str) -> Iterator[tuple[int, str]]:
        """The open directory that holds the file, and the file's name in it."""
        *parents, last = _parts(name)
        if self._root is None:
            raise BadInput(
                "This server binds no files: the operator has named no workspace.",
                "Give the text as value, or start the server with --workspace DIR.",
            )
        if os.open not in os.supports_dir_fd:
            raise BadInput("Files cannot be bound on this system.", "Give the text as value.")
        opened: list[int] = []
        try:
            opened.append(_open(self._root, os.O_DIRECTORY, None, name))
            for part in parents:
                opened.append(_open(part, os.O_DIRECTORY | os.O_NOFOLLOW, opened[-1], name))
            yield opened[-1], last
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _bytes(self, folder: int, last: str, name: str) -> bytes:
        descriptor = _open(last, os.O_NOFOLLOW | os.O_NONBLOCK, folder, name)
        try:
            self._check(os.fstat(descriptor), name)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(self._most * BYTES_PER_CHAR + 1)
        finally:
            os.close(descriptor)

    def _read(self, folder: int, last: str, name: str) -> str:
        data = self._bytes(folder, last, name)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"{name!r} is not UTF-8 text.", ELSEWHERE) from error
        if "\x00" in text:
            raise BadInput(f"{name!r} is a binary file.", ELSEWHERE)
        if len(text) > self._most:
            raise BadInput(f"{name!r} has more than {self._most:,} characters.", "Shorten it.")
        return text

    def _check(self, found: os.stat_result, name: str) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{name!r} is not a regular file.", ELSEWHERE)
        if found.st_nlink > 1:
            raise BadInput(f"{name!r} has another name (a hard link).", ELSEWHERE)
        if found.st_uid != os.geteuid():
            raise BadInput(f"{name!r} belongs to another user.", ELSEWHERE)
        if found.st_size > self._most * BYTES_PER_CHAR:
            raise BadInput(f"{name!r} has {found.st_size:,} bytes: too many.", "Shorten it.")


def changed_outside(name: str, variable: str) -> Conflict:
    """The refusal to use or overwrite a file that somebody else has changed."""
    return Conflict(
        f"The file {name!r} was changed outside since {variable} was read from or written to it.",
        f"Take its text as a new version: revert(session_id, variable='{variable}') without "
        "version. (Every earlier text is kept and can be reverted to after that.)",
    )


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    wrong = path.is_absolute() or not path.parts or "\\" in name or "\x00" in name
    if wrong or any(part.startswith(".") for part in path.parts):
        raise BadInput(
            f"{name!r} is absolute, leads out of the workspace, or is hidden (a name that begins "
            "with a dot).",
            ELSEWHERE,
        )
    return path.parts


def _open(what: str | Path, flags: int, folder: int | None, name: str) -> int:
    try:
        return os.open(what, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    except OSError as error:
        raise BadInput(
            f"{name!r} cannot be opened in the workspace ({error.strerror}; links are not "
            "followed).",
            ELSEWHERE,
        ) from error


def _replace(folder: int, last: str, text: str, name: str) -> str:
    """Replace a file's content at once, keeping its mode; the new digest. Raises Conflict."""
    mode = stat.S_IMODE(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
    spare = f".{last[:100]}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(spare, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(spare, last, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
        return digest(text)
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(spare, dir_fd=folder)
        raise Conflict(
            f"The file {name!r} could not be written: {error.strerror}. It is as it was.",
            "Mend the cause; the new text is kept in the session and is written at the next use.",
        ) from error
