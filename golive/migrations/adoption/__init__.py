"""Adopt tables created by another tool. Frozen with the migration that uses it, so it imports nothing of the app."""
