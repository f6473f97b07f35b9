"""Fast CPU kernels: the picks of `selection.plain`, with fewer passes over the pool."""
