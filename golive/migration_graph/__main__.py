#!/usr/bin/env python3
"""Run the audit without Django: `python -m golive.migration_graph [PATH]`, or execute this file from any folder.

Standard library only, so other projects can run it straight from a checkout with nothing installed, as
`.pre-commit-hooks.yaml` does.
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
