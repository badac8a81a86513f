"""A project like the real one, with views that fail in the middle of a request. For tests/http/test_transactions.py."""
