"""Find defects in the graph, and differences from the lock file or a database."""
