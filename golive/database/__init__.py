"""The database layer: deadlines, causes of failures, the shape of the tables, file locks."""
