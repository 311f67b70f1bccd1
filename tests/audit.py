"""Known vulnerabilities of what is installed here: `python -m tests.audit PIP_AUDIT [DIRECTORY]`.

pip-audit says "no known vulnerabilities" also of packages that it could not ask about. This says
how many were really audited, and calls it a failure (2) when that is none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from typing import Any

FOUND, NOT_AUDITED = 1, 2
OURS = "textgrad-mcp"


def verdict(report: dict[str, Any] | None) -> tuple[int, str]:
    """The exit code and the words for pip-audit's report; None when it gave none."""
    packages = [one for one in (report or {}).get("dependencies", []) if one["name"] != OURS]
    skipped = [one for one in packages if "skip_reason" in one]
    audited = len(packages) - len(skipped)
    found = [
        f"{one['name']} {one['version']}: {vuln['id']}, fixed in "
        f"{', '.join(vuln['fix_versions']) or 'no version yet'}"
        for one in packages
        for vuln in one.get("vulns", [])
    ]
    if not audited:
        return NOT_AUDITED, (
            "NOTHING WAS AUDITED: the advisory service could not be reached, or knows none of "
            "these packages. Run it where that can be reached."
        )
    lines = [*found, f"{audited} packages audited, {len(found)} known vulnerabilities."]
    if skipped:
        lines.append(f"NOT AUDITED: {', '.join(one['name'] for one in skipped)}.")
    return (FOUND if found else NOT_AUDITED if skipped else 0), "\n".join(lines)


def main(pip_audit: str, directory: str) -> int:
    """Audit the packages in a directory."""
    command = [pip_audit, "--progress-spinner", "off", "--format", "json", "--path", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
        sys.stderr.write(done.stderr)
    code, words = verdict(report)
    print(words)
    return code


if __name__ == "__main__":
    where = sys.argv[2] if len(sys.argv) > 2 else sysconfig.get_paths()["purelib"]
    sys.exit(main(sys.argv[1], where))
