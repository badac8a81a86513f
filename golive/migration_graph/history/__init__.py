"""Read the git history: which commit introduced each finding, and the values before it."""
