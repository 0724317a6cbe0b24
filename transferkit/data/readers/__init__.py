"""Sources that people have (folders, tables, arrays, data sets) to samples."""
