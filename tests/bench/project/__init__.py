"""A Django project with the settings and the middleware of the real one, and other views: the measures, and the peers.

BENCH_PEER in the environment says which peer holds the flag; empty: none.
"""
