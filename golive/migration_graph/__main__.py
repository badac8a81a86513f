"""`python -m golive.migration_graph [PATH]`: the audit without Django."""

import sys

from golive.migration_graph.commandline import main

sys.exit(main())
