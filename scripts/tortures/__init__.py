"""What scripts/torture.py tries: a module a kind."""
