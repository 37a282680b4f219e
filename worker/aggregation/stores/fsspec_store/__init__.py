"""Any other file system that fsspec knows: the only folder that imports fsspec."""
