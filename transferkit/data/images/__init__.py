"""Picture files to upright RGB pixels: the only decoder."""
