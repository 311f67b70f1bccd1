"""Textual autograd. Knows no MCP: the server calls it, and it calls nobody above it."""
