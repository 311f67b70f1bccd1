"""Evaluators: the operator's own programs that score outputs, each under a supervisor."""
