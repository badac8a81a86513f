"""Thin views: read the request, call what knows, answer in JSON."""
