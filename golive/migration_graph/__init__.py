"""The audit of migration graphs: text of files in, findings out. Nothing is imported or run.

Pure: the standard library and itself, no Django. `golive.migration_graph.model` holds the shapes that all parts share.
"""
