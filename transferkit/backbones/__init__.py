"""Backbones: a name becomes a network, its preprocessing, its weights and its cut. Imports no Keras."""
