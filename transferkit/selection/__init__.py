"""Which classifier on which of the network's features: tried by cross-validation, chosen by a stated rule, shipped."""
