"""Splits: stratified, seeded, group-aware; copies and look-alikes stay together."""
