"""Scorers that an assistant wrote: scripts of the workspace, run once a person has agreed to them.

What is agreed to is the text, not the name: that text is run, whatever the file holds by then.
"""

from __future__ import annotations

import sys

from ...schemas.errors import BadInput
from ...schemas.settings import EvaluatorSettings
from ..data.workspace import Workspace, digest
from .evaluators import Evaluators

SUFFIX = ".py"
MOST = 100_000
"""Characters of a script: it is handed to the interpreter as an argument."""


class Scripts:
    """The scripts that may be used as evaluators in this process."""

    def __init__(self, workspace: Workspace, evaluators: Evaluators) -> None:
        self._workspace, self._evaluators = workspace, evaluators

    def is_script(self, evaluator: str | None) -> bool:
        """Whether this names a script, and no program of the operator's."""
        found = evaluator or ""
        return found.endswith(SUFFIX) and not self._evaluators.knows(found)

    def read(self, path: str) -> tuple[str, str]:
        """The name under which a script as it is now is agreed to, and its text. Raises
        BadInput."""
        text = self._workspace.read(path)
        if len(text) > MOST:
            raise BadInput(
                f"The script {path!r} has more than {MOST:,} characters.", "Make it shorter."
            )
        return f"{path}@{digest(text)[:12]}", text

    def agreed(self, name: str) -> bool:
        """Whether somebody has agreed to the script of this name."""
        return self._evaluators.knows(name)

    def agree(self, name: str, text: str) -> None:
        """Let a script be run from now on, beneath the same limits as the operator's programs."""
        command = [sys.executable, "-I", "-c", text]
        words = "a script of the workspace that was agreed to"
        self._evaluators.register(name, EvaluatorSettings(command=command, description=words))

    def resolved(self, evaluator: str) -> str:
        """The name of a script that may be run. Raises BadInput where nobody has agreed to it."""
        name, _ = self.read(evaluator)
        if not self.agreed(name):
            raise BadInput(
                f"Nobody has agreed that the script {evaluator!r} is run, as it is now.",
                "A client that can ask the person (elicitation) does so; else the operator can "
                "start the server with workspace_evaluators='allow', or register it as an "
                "evaluator. Or run it yourself: compute_loss(kind='feedback', instruction=...).",
            )
        return name
