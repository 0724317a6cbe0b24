"""The run directory and the job that fills it."""
