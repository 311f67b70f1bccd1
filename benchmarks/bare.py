"""A server with one trivial tool, on the bare SDK: what every server of this kind costs.

python benchmarks/bare.py stdio
python benchmarks/bare.py http PORT
"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel


class Said(BaseModel):
    """A result with an output schema, as ours have one."""

    session_id: str
    status: str
    next: str


server = MCPServer("bare", log_level="WARNING")


@server.tool()
def say(text: str, session_id: str = "") -> Said:
    """Say something back."""
    return Said(session_id=session_id, status="done", next=text)


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
