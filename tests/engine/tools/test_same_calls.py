"""What makes two calls the same call: databases hold it, so that it stays as it was."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from textgrad_mcp.engine.runs.digest import digest_of
from textgrad_mcp.schemas.arguments.backward import BackwardArguments
from textgrad_mcp.schemas.arguments.base import Arguments
from textgrad_mcp.schemas.arguments.evaluate import EvaluateArguments
from textgrad_mcp.schemas.arguments.forward import ForwardArguments
from textgrad_mcp.schemas.arguments.optimize import OptimizeArguments
from textgrad_mcp.schemas.arguments.step import StepArguments
from textgrad_mcp.schemas.errors import BadInput, NotFound

from ...helpers import ME, an_engine

DIGESTS: list[tuple[type[Arguments], dict[str, Any], str]] = [
    (EvaluateArguments, {}, "7f98f23eb36e2cb9d14ac92fa7954459"),
    (EvaluateArguments, {"votes": 3, "split": "train"}, "98948236df5faaa1ae3585a09bb5f97d"),
    (EvaluateArguments, {"loss": "v5"}, "32bc68fb0c971367c1ca53dc700be6e5"),
    (BackwardArguments, {}, "b843a49957f0f3a9a04fdc1186e6b93f"),
    (
        BackwardArguments,
        {"losses": ["v5"], "examples": "train", "exact": True},
        "0aa3e676145108a1609c68c232c6e85d",
    ),
    (BackwardArguments, {"examples": ["e1", "e2"]}, "41ed5b20aa7b8c64f0039b60840dfd34"),
    (StepArguments, {}, "c018a59a079d0358d3860f7b7cc37ba7"),
    (
        StepArguments,
        {"candidates": 3, "accept": "never", "memory": 2},
        "7899cda01962819b18b08da067fb30b3",
    ),
    (
        StepArguments,
        {"strategy": "reflect", "variables": ["v1"], "accept": "if_better"},
        "23a33c9b6f302c70b0a2bc60aa6adc16",
    ),
    (OptimizeArguments, {}, "4e13992ff4656a856bec552adf005229"),
    (
        OptimizeArguments,
        {"steps": 2, "goal": 1, "budget": {"calls": 500, "cost": 1}},
        "c4a76ec2c2bdcf7e0ce01c65c1e0c125",
    ),
    (
        OptimizeArguments,
        {
            "strategy": "exact",
            "parents": "pareto",
            "together": False,
            "seed": 3,
            "batch_size": 2,
            "candidates": 2,
            "patience": 5,
            "variables": ["v1"],
            "loss": "v5",
        },
        "7fbb40c77003ae4cbe7b4d3bb0420a32",
    ),
    (
        ForwardArguments,
        {
            "operation": "llm",
            "inputs": {"q": "v2"},
            "template": "Q {q}",
            "system": "v1",
            "role": "x",
            "name": "n",
            "examples": ["e1"],
        },
        "8b1fd464b87bfddbff73ddb5b4cae680",
    ),
    (
        ForwardArguments,
        {"operation": "external", "function": "f", "inputs": {"q": "v2"}},
        "e029aac3d2f8da29e5660c377f5020d3",
    ),
    (ForwardArguments, {"examples": "validation"}, "528f46d6c9a65315315dfe5c30ba7770"),
]
"""Calls, with the digests that runs of them have had since the first version that had all of their
arguments."""


@pytest.mark.parametrize(("arguments", "given", "digest"), DIGESTS)
def test_a_call_is_the_same_as_in_earlier_versions(
    arguments: type[Arguments], given: dict[str, Any], digest: str
) -> None:
    asked = arguments.of({"session_id": "tg_any", **given}).asked()
    assert digest_of(arguments.tool, asked) == digest


def test_a_later_argument_counts_where_it_is_not_as_by_default() -> None:
    plain = StepArguments(session_id="tg_x")
    assert "strategy" not in plain.asked()
    assert StepArguments(session_id="tg_x", strategy="reflect").asked()["strategy"] == "reflect"
    for arguments in (EvaluateArguments, OptimizeArguments):
        once = arguments.of({"session_id": "tg_x", "repeats": 1})
        assert once.asked() == arguments.of({"session_id": "tg_x"}).asked()
        assert arguments.of({"session_id": "tg_x", "repeats": 3}).asked()["repeats"] == 3


def test_none_is_left_out() -> None:
    given = OptimizeArguments.of({"session_id": "tg_x", "steps": None, "budget": None})
    assert given.asked() == OptimizeArguments(session_id="tg_x").asked()


def test_a_tool_is_called_with_what_its_model_has() -> None:
    async def main() -> None:
        async with an_engine() as engine:
            assert {"evaluate", "inspect", "optimize_prompt"} <= set(engine.tools)
            for tool in engine.tools.values():
                takes = list(inspect.signature(tool).parameters)
                assert takes == ["caller", *tool.arguments.model_fields]
            with pytest.raises(BadInput, match=r"evaluate: vots: extra inputs"):
                await engine.evaluate(ME, session_id="tg_x", vots=3)
            with pytest.raises(NotFound):
                await engine.evaluate(ME, EvaluateArguments(session_id="tg_x"))

    asyncio.run(main())
