"""Prompts: the ways of working, as messages a person picks in the client. One prose file each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated

from mcp.server.mcpserver.prompts import Prompt
from pydantic import Field

ASK = "(not given: ask me before you begin)"
_BLANK = re.compile(r"\{(\w+)\}")


@cache
def _load(name: str) -> str:
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8").strip()


def fill(name: str, values: Mapping[str, str]) -> str:
    """The prompt `name` with its {blanks} filled; braces inside values stay as they are."""
    return _BLANK.sub(lambda m: values[m[1]] if m[1] in values else m[0], _load(name))


def improve_text(
    text: Annotated[str, Field(description="The text, or the file it is in.")] = "",
    goal: Annotated[str, Field(description="What makes it good, and for whom.")] = "",
) -> str:
    """Improve one text by feedback and rewriting, every version kept."""
    return fill("improve_text", {"text": text or ASK, "goal": goal or ASK})


def optimize_prompt(
    task: Annotated[str, Field(description="What the prompt is for.")] = "",
    prompt: Annotated[str, Field(description="The prompt as it is now.")] = "",
    examples: Annotated[str, Field(description="Examples, or the file they are in.")] = "",
    metric: Annotated[str, Field(description="How an answer is scored.")] = "",
) -> str:
    """Make a prompt measurably better on examples, with held-out proof."""
    values = {
        "task": task or ASK,
        "prompt": prompt or "(there is none yet)",
        "examples": examples or ASK,
        "metric": metric or "(choose one that fits and say which)",
    }
    return fill("optimize_prompt", values)


def find_weak_link(
    pipeline: Annotated[str, Field(description="The steps, in order.")] = "",
    session_id: Annotated[str, Field(description="The session, if it is built already.")] = "",
) -> str:
    """Find which step of a pipeline costs the most, before anything is rewritten."""
    unknown = "(read it from the session)" if session_id else ASK
    values = {"pipeline": pipeline or unknown, "session_id": session_id or "(none)"}
    return fill("find_weak_link", values)


def improve_pipeline(
    pipeline: Annotated[str, Field(description="The prompts and steps, in order.")] = "",
    goal: Annotated[str, Field(description="What makes the last output good.")] = "",
    examples: Annotated[str, Field(description="Examples, or the file they are in.")] = "",
) -> str:
    """Improve the prompts of a pipeline together, with held-out proof."""
    given = {"pipeline": pipeline, "goal": goal, "examples": examples}
    return fill("improve_pipeline", {name: said or ASK for name, said in given.items()})


def repair_code(
    code: Annotated[str, Field(description="The code, or the file it is in.")] = "",
    tests: Annotated[str, Field(description="The command that runs the tests.")] = "",
) -> str:
    """Repair code against its failing tests, with every version and result kept."""
    return fill("repair_code", {"code": code or ASK, "tests": tests or ASK})


def start_from_goal(
    goal: Annotated[str, Field(description="What you would like to be better.")] = "",
) -> str:
    """Be interviewed for examples and a measure, then start an optimisation."""
    return fill("start_from_goal", {"goal": goal or ASK})


PROMPTS: list[tuple[Callable[..., str], str]] = [
    (improve_text, "Improve a text"),
    (optimize_prompt, "Optimise a prompt on examples"),
    (improve_pipeline, "Improve the prompts of a pipeline"),
    (find_weak_link, "Find the weak link of a pipeline"),
    (repair_code, "Repair code against failing tests"),
    (start_from_goal, "Start from a goal"),
]


def prompts() -> list[Prompt]:
    """All prompts, in a stable order."""
    return [Prompt.from_function(function, title=title) for function, title in PROMPTS]
