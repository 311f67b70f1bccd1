"""Stands between the server and a program it runs, as a script: never imported by the server.

    supervisor.py LIFE MEMORY DISK FOLDER PROGRAM [ARGUMENT ...]

LIFE is the number of a socket; MEMORY and DISK are limits in bytes. The program gets the standard
streams, a session of its own, and a new directory in FOLDER. When it has ended, uses more than it
may, or the other end of LIFE is closed, every descendant is killed and the directory removed. The
server closes LIFE to stop a program, and the system closes it when the server dies, however that
happens. What came of it is written into LIFE, as JSON:

    {"code": N, "memory": BYTES}                 the exit code, or minus the signal
    {"over": "memory", "used": BYTES}            or "disk", or "processes"; it was stopped
    {"failed": WHY}                              it could not be started

On Linux orphans come back to this process (it is their subreaper), so that a double fork or a new
session leads nowhere. Memory is what is resident, shared pages shared out, looked at every 50 ms:
limits on address space stop programs that reserve much and use little.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

TICK = 0.05  # seconds between two looks, more where a look takes long
SHARE = 10  # a look may take this part of the time between looks
ENDING = 5.0  # seconds for killed processes to be gone
PROCESSES = 1000
LEAST = 4096  # bytes that an entry of a directory counts for, however empty
SUBREAPER, DEATH_SIGNAL = 36, 1  # prctl's numbers
LINUX = os.path.isfile(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
PAGE = resource.getpagesize()


class Over(Exception):
    """The program uses more `what` than it may."""

    def __init__(self, what: str, used: int) -> None:
        super().__init__(what, used)
        self.what, self.used = what, used


def main(life: int, memory: int, disk: int, folder: str, command: list[str]) -> None:
    """Runs `command`, ends all that it started, reports."""
    os.set_inheritable(life, False)
    _prctl(SUBREAPER, 1)
    place = os.path.join(folder, f"evaluator-{os.urandom(8).hex()}")
    try:
        report = _supervised(life, Watch(place, memory, disk), command)
    finally:
        _remove(place)
    with contextlib.suppress(OSError):  # nobody may be there to read it
        os.write(life, json.dumps(report).encode())


def _supervised(life: int, watch: Watch, command: list[str]) -> dict[str, Any]:
    woken = _wake_on_signals()
    try:
        os.mkdir(watch.place, 0o700)
        program = _start(command, watch.place, watch.disk)
    except OSError as error:
        return {"failed": str(error)}
    try:
        code = _until_end(program, watch, life, woken)
        watch.look()  # a short program may have filled the directory between two looks
        return {"code": code, "memory": watch.peak()}
    except Over as over:
        return {"over": over.what, "used": over.used}
    finally:
        _end(program)


def _until_end(program: int, watch: Watch, life: int, woken: int) -> int:
    """The program's exit code once it has ended, or is to. Raises Over."""
    due = time.monotonic()
    while True:
        wait = max(0.0, due - time.monotonic())
        ready, _, _ = select.select([life, woken], [], [], wait)
        if woken in ready and _told_to_stop(woken):
            return -signal.SIGTERM
        if life in ready:  # nothing is ever sent: the other end is closed
            return -signal.SIGKILL
        if (code := _exit_code(program)) is not None:
            return code
        if time.monotonic() >= due:
            began = time.monotonic()
            watch.look()
            due = time.monotonic() + max(TICK, SHARE * (time.monotonic() - began))


def _wake_on_signals() -> int:
    """A descriptor that can be read when a child has ended or this process is to end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _told_to_stop(woken: int) -> bool:
    return any(number != signal.SIGCHLD for number in os.read(woken, 4096))


def _start(command: list[str], place: str, disk: int) -> int:
    """The id of a process that runs `command`. Raises OSError if it cannot be run."""
    reader, writer = os.pipe()  # closed by the exec that succeeds
    parent = os.getpid()
    program = os.fork()
    if program == 0:
        try:
            _become(command, place, disk, parent)
        except BaseException as error:  # noqa: BLE001 - told to the parent, which raises it
            os.write(writer, str(error).encode("utf-8", "replace"))
        finally:
            os._exit(127)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        failure = said.read().decode()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the program alone holds its streams
        os.dup2(nothing, stream)
    if failure:
        raise OSError(failure)
    return program


def _become(command: list[str], place: str, disk: int, parent: int) -> None:
    os.setsid()  # what it does to its process group stays with it
    _prctl(DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python
        signal.signal(number, signal.SIG_DFL)
    for kind, wanted in ((resource.RLIMIT_FSIZE, disk), (resource.RLIMIT_CORE, 0)):
        most = resource.getrlimit(kind)[1]
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (value, value))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # where memory runs out, the system is to end this, not the server
    os.chdir(place)
    environment = {**os.environ, "HOME": place, "TMPDIR": place}
    os.execve(command[0], command, environment)  # noqa: S606 - the operator's, no shell wanted


def _exit_code(program: int) -> int | None:
    """The program's exit code if it has ended; reaps all that have."""
    code = None
    with contextlib.suppress(ChildProcessError):
        for pid, status in _reaped():
            if pid == program:
                code = os.waitstatus_to_exitcode(status)
    return code


class Watch:
    """What the program and all that it started use, against what they may."""

    def __init__(self, place: str, memory: int, disk: int) -> None:
        self.place, self.memory, self.disk = place, memory, disk
        self._most = 0

    def look(self) -> None:
        """Raises Over when a limit is passed."""
        pids = family()
        if len(pids) > PROCESSES:
            raise Over("processes", len(pids))
        used = sum(pids.values())
        if used > self.memory:  # shared pages were counted for each process
            used = sum(_proportional(pid, rss) for pid, rss in pids.items())
        self._most = max(self._most, used)
        if used > self.memory:
            raise Over("memory", used)
        stored = disk_used(self.place, pids, self.disk)
        if stored >= self.disk:
            raise Over("disk", stored)

    def peak(self) -> int:
        """The most memory that was seen in use, and at least what the largest process had."""
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return max(self._most, largest * (1024 if LINUX else 1))


def family() -> dict[int, int]:
    """Every descendant of this process, with its resident memory in bytes."""
    return family_in_proc() if LINUX else family_in_ps()


def family_in_proc() -> dict[int, int]:
    """The same from what Linux shows in files."""
    found: dict[int, int] = {}
    waiting = [os.getpid()]
    while waiting:
        for child in _children(waiting.pop()):
            if child not in found:
                found[child] = _resident(child)
                waiting.append(child)
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                yield from map(int, file.read().split())


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE
    return 0


def _proportional(pid: int, otherwise: int) -> int:
    """The resident bytes of a process with shared pages shared out, where the system tells."""
    if not LINUX:
        return otherwise
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            found = [line.split()[1] for line in file if line.startswith("Pss:")]
    except PermissionError:
        return otherwise
    except OSError:  # it has ended meanwhile
        return 0
    return int(found[0]) * 1024 if found else 0


def family_in_ps() -> dict[int, int]:
    """The same from what `ps` lists, itself included; nothing where there is no `ps`."""
    import subprocess

    try:
        command = ["/bin/ps", "-axo", "pid=,ppid=,rss="]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return {}
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found: dict[int, int] = {}
    waiting = [os.getpid()]
    while waiting:
        parent = waiting.pop()
        young = {pid: rss * 1024 for pid, above, rss in rows if above == parent}
        waiting += young.keys() - found.keys()
        found |= young
    return found


def disk_used(place: str, pids: dict[int, int], enough: int) -> int:
    """Bytes of the files below `place`, and of deleted ones that `pids` hold open.

    Counts no further than `enough`.
    """
    used, waiting = 0, [place]
    while waiting and used < enough:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                used += max(found.st_blocks * 512, LEAST)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                if used >= enough:
                    break
    return used + _nameless(place, pids)


def _nameless(place: str, pids: dict[int, int]) -> int:
    """Bytes of the files on the device of `place` without a name, which processes hold open."""
    found: dict[int, int] = {}
    device = os.stat(os.path.dirname(place)).st_dev  # the directory itself may be gone
    for pid in pids if LINUX else ():
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    file = os.stat(f"/proc/{pid}/fd/{descriptor}")
                    if file.st_dev == device and file.st_nlink == 0:
                        found[file.st_ino] = file.st_blocks * 512
    return sum(found.values())


def _reaped() -> Iterator[tuple[int, int]]:
    """The children that have ended, with their statuses. Raises ChildProcessError at the last."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        yield pid, status


def _end(program: int) -> None:
    """Kills every descendant, until none is left."""
    until = time.monotonic() + ENDING
    while time.monotonic() < until:
        if not LINUX:
            with contextlib.suppress(OSError):
                os.killpg(program, signal.SIGKILL)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, they start no others
            for pid in family():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
        try:
            for _ in _reaped():
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _remove(place: str) -> None:
    """Removes the directory with all that is in it, as far as the system lets it."""
    try:
        os.rmdir(place)
    except OSError:  # not empty
        import shutil

        shutil.rmtree(place, ignore_errors=True)


def _prctl(option: int, value: int) -> None:
    """Sets a property of this process, where there is such a thing (Linux)."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    life, memory, disk = map(int, sys.argv[1:4])
    main(life, memory, disk, sys.argv[4], sys.argv[5:])
