"""What runs in a worker's process, as a script; the server takes figures from it alone.

    worker.py PARENT

Jobs come on stdin and answers go to stdout, each with its length before it. What a job prints goes
to stderr. The process ends with its parent, however that ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import marshal
import os
import signal
import struct
import sys
from typing import IO, Any

SMALL = 2_000
"""So many characters are worked on at once: whatever is made of them takes milliseconds."""
LENGTH = struct.Struct("!Q")
MEMORY = 2 << 30
"""Bytes of address space that the work may take."""
_GRACE = 2.0  # seconds after which a job ends itself that nobody has ended
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main(parent: int) -> None:
    """Read jobs from stdin, do each, write its result to stdout; until stdin ends."""
    _end_with(parent)
    _limit_memory()
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(2, 1)
        while head := jobs.read(LENGTH.size):
            seconds, path, *job = marshal.loads(jobs.read(*LENGTH.unpack(head)))  # noqa: S302
            sys.path[:] = path
            # A thread of C's own: it needs no turn of the interpreter, which a job may never give.
            faulthandler.dump_traceback_later(seconds + _GRACE, exit=True, file=nowhere)
            answer = _answer(*job)
            faulthandler.cancel_dump_traceback_later()
            _say(answers, answer)


def _answer(module: str, function: str, args: tuple[Any, ...]) -> bytes:
    """What became of a job: `done`, `refused` (an error of ours), `memory` or `failed`."""
    try:
        result = getattr(importlib.import_module(module), function)(*args)
        return marshal.dumps(("done", result))
    except MemoryError:
        return marshal.dumps(("memory",))
    except Exception as error:  # noqa: BLE001 - raised again by whoever asked
        kind, following = type(error).__name__, getattr(error, "next", None)
        if following is None:
            return marshal.dumps(("failed", kind, str(error)))
        return marshal.dumps(("refused", kind, getattr(error, "message", ""), following))


def _say(answers: IO[bytes], answer: bytes) -> None:
    answers.write(LENGTH.pack(len(answer)) + answer)
    answers.flush()


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends, where it can.

    Elsewhere the end of stdin does it, or a job's own time.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()  # it was too late


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (wanted, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
