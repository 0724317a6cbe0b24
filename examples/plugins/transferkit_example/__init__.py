"""One transferkit plugin of each kind. Importing this package imports nothing else."""
