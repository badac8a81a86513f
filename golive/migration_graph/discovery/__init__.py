"""Which files belong to the graph: where the tool itself would look for them."""
