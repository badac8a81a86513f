"""Measurements of the real service beside what it could be and beside its peers, side by side in one run.

`python -m tests.bench` (or `make bench`) measures throughput and latency, `python -m tests.bench propagation` how long
after an acknowledged stop somebody is still let through. `--help` lists the options.
"""
