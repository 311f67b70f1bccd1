"""When each session's last run in this process ended, in finer time than the database keeps."""

from __future__ import annotations

import time

REMEMBERED = 1000


class Endings:
    """When the last run of each session ended in this process, for so many sessions as were used
    last."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._last)

    def note(self, session: int, digest: str) -> None:
        """A run of the call with this digest has just ended."""
        self._last.pop(session, None)
        self._last[session] = digest, time.monotonic()
        if len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]

    def since(self, came: float, session: int, digest: str) -> bool:
        """Whether the session's last run was of this call, and ended after `came`."""
        last, ended = self._last.get(session, ("", 0.0))
        return last == digest and ended > came
