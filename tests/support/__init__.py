"""Helpers shared by the tests of several rooms: servers, databases, fault injection, users, timeouts."""
