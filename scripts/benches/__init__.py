"""One module a measurement: its bars, both sides of its comparison, and the command that measures."""
