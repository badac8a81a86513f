"""Audit migration graphs: source text in, findings out. Audited files are never imported or run.

Pure: depends only on the standard library, not on Django. `golive.migration_graph.model` holds the shared data types.
"""
