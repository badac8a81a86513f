#!/usr/bin/env python3
"""The audit for other projects, straight from a checkout: standard library only, nothing to install.

It is what `.pre-commit-hooks.yaml` runs. Beside `golive`, so that Python finds that package by itself.
"""

import sys

if sys.version_info < (3, 11):
    sys.stderr.write("audit_migrations: Python 3.11 or newer is needed\n")
    sys.exit(2)

from golive.migration_graph.commandline import main

sys.exit(main())
