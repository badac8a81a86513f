"""The domain needs nothing but the standard library: what is true of it is true anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = """
import importlib, pkgutil, sys
import golive.domain
names = [module.name for module in pkgutil.iter_modules(golive.domain.__path__)]
for name in names:
    importlib.import_module(f"golive.domain.{name}")
foreign = {name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"golive", "__main__"}
print(len(names), *sorted(foreign))
"""


def test_domain__imported_without_site_packages__needs_the_standard_library_only() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    count, *foreign = done.stdout.split()
    assert int(count) >= 9
    assert foreign == []
