"""Find the files of the graph, where the migration tool itself would look for them."""
