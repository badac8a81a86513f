"""Fresh virtual environments with the package, made without a download."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120
_SITES = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class FreshEnvironment:
    """A virtual environment, and what is run in it. Nothing of the checkout is on its path."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def audit(self) -> Path:
        return self.folder / "bin" / "golive-audit"

    def run(self, *command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
        """A command in `folder`, with nothing in the environment that Python or Django would take orders from."""
        return subprocess.run(
            [*map(str, command)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )


def make_environment(folder: Path, *, sees_ours: bool = True) -> FreshEnvironment:
    """An environment with nothing of its own. `sees_ours`: what is installed beside pytest can be imported there."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    if sees_ours:
        paths = [path for path in sys.path if Path(path).name in _SITES]
        site.joinpath("ours.pth").write_text("".join(f"{path}\n" for path in paths))
    return FreshEnvironment(folder)


def pip(
    *arguments: str | Path,
    into: FreshEnvironment | None = None,
    folder: Path | None = None,
    with_dependencies: bool = False,
) -> None:
    """pip in `folder`, without network. Raises AssertionError with what it said."""
    target = () if into is None else ("--python", str(into.python))
    options = ["--disable-pip-version-check", *(() if with_dependencies else ("--no-deps",))]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *target, *map(str, arguments), *options],
        cwd=folder,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
