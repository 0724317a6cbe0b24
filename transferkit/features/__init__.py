"""Pixels to activations at the cut, computed once and kept."""
