#!/usr/bin/env python3
"""Run the audit from a checkout with nothing installed: execute this file, or `python -m golive.migration_graph`.

In a folder that is not trusted, execute this file or use `golive-audit`: with `-m`, Python looks for `golive` in the
current folder first, before anything here can prevent it.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 9):
    sys.stderr.write("golive.migration_graph: Python 3.9 or newer is needed\n")
    sys.exit(2)
if not __package__:
    # Run as a script: sys.path[0] is this folder, so the package that contains it would not be importable.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from golive.migration_graph.cli import COMMAND, main

sys.exit(main(program=COMMAND))
