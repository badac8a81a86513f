"""Thin JSON views: parse the request, call the rooms below, serialize the result."""
