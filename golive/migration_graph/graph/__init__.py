"""Build one graph from many files: resolved references, cycles, cuts and the order of an upgrade."""
