"""What is wrong: in the graph, and held against the lock file or a database."""
