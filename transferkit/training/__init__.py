"""Activations to a trained tail and head."""
