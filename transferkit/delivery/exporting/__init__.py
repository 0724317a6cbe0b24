"""Models leave the run: one file for another runtime, proved there against the run's own model."""
