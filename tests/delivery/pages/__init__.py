"""Mirrors `transferkit.delivery.pages`."""
