"""Parse the text of one migration file. Nothing is imported or run."""
