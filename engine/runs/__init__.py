"""Runs: a tool call that survives its process, and the ledger of what was asked."""
