"""Rank the remedies of a finding, and compute the graph after each."""
