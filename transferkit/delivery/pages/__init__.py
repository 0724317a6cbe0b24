"""Pages on this machine: one small server of the standard library, and what is shown by it."""
