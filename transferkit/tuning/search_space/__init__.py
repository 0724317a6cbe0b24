"""Which settings a search may change, and to what."""
