"""The database itself, whatever is in it: deadlines, what a failure means, the shape of the tables, files as locks."""
