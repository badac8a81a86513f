"""The operator console: pages and buttons for people. Programs use `golive.api`."""
