"""The tools: what each takes, what is checked, what it does."""
