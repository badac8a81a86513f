"""From the text of one migration file to what it says. Nothing is imported or run."""
