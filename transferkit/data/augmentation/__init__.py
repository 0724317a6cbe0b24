"""Seeded views of pictures."""
