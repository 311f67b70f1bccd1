"""Tool schemas that strict hosts and endpoints take: plain types, and nothing that some refuse."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from textgrad_mcp.server.protocol.app import build

from ...helpers import MEMORY, assisted

TOOLS = asyncio.run(build(assisted(MEMORY)).list_tools())
TYPES = {"string", "integer", "number", "boolean", "array", "object"}
MEANT = {"type", "description", "default", "enum", "items", "properties", "additionalProperties"}


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all that it is made of."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [
        schema[k] for k in ("items", "additionalProperties") if isinstance(schema.get(k), dict)
    ]
    for one in inner:
        yield from nodes(one)


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])
def test_a_tool_says_what_it_takes_in_words_that_every_host_knows(tool: Any) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema.get("required", [])) <= set(schema["properties"])
    assert all(re.fullmatch(r"[a-z_]{1,64}", name) for name in schema["properties"])
    for node in nodes(schema):
        if "anyOf" in node:
            assert set(node) == {"anyOf"}, "Gemini refuses whatever stands beside anyOf"
            continue
        assert node["type"] in TYPES
        assert node.keys() <= MEANT | {"required"}
        assert ("items" in node) == (node["type"] == "array")
        assert "enum" not in node or all(isinstance(v, str) and v for v in node["enum"])


def test_what_may_be_left_out_is_not_required_and_says_nothing_of_null() -> None:
    for tool in TOOLS:
        assert "null" not in str(tool.input_schema).replace("is null", "")
