"""The MCP server, its command line and its demo. The only place that knows a protocol."""
