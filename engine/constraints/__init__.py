"""Constraints: what a parameter's text must obey, by code or by a judge."""
