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
    # Run as a script: sys.path begins with this folder, if with any, and not with the one that has the package.
    folder, root = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
    sys.path = [str(root), *(path for path in sys.path if Path(path).resolve() != folder)]

from golive.migration_graph.cli import COMMAND, main

sys.exit(main(program=COMMAND))
