"""`make audit` tells an audit that found nothing from one that did not take place."""

from __future__ import annotations

from typing import Any

import pytest

from .audit import FOUND, NOT_AUDITED, verdict

SOUND: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
OURS = {"name": "textgrad-mcp", "skip_reason": "not on PyPI"}
SKIPPED = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([SOUND, OURS], 0, "1 packages audited, 0 known vulnerabilities."),
        ([SOUND, BAD], FOUND, "c 2: CVE-1, fixed in 2.1"),
        ([SOUND, SKIPPED], NOT_AUDITED, "NOT AUDITED: b."),
        ([SKIPPED, OURS], NOT_AUDITED, "NOTHING WAS AUDITED"),
        ([], NOT_AUDITED, "NOTHING WAS AUDITED"),
        (None, NOT_AUDITED, "could not be reached"),
    ],
)
def test_only_what_was_audited_counts_as_sound(
    packages: list[dict[str, Any]] | None, code: int, words: str
) -> None:
    report = None if packages is None else {"dependencies": packages}
    said = verdict(report)
    assert said[0] == code
    assert words in said[1]
