"""Adopting tables that another tool made: frozen with the migration that uses it, so it imports nothing of the app."""
