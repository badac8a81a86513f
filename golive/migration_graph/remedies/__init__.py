"""What to do about a finding, and the graph that it gives."""
