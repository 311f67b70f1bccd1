"""Rows of examples out of what people have: calls, texts, and files of many forms."""
