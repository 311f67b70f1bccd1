"""Replies of models, read: JSON with slips, reasoning apart, why a reply ended."""
