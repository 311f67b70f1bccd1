"""What there is of each kind, by name: ours, and what installed packages add."""
