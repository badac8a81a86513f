"""The requirements as tests read them: the direct ones (`.in`), and those that `make lock` makes of them (`.txt`)."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.server import ROOT


def read_direct(name: str) -> dict[str, Requirement]:
    """What the file `name` asks for itself, and what the file asks for that it includes, by canonical name."""
    direct: dict[str, Requirement] = {}
    for line in _logical_lines(ROOT / name):
        if line.startswith("-r "):
            direct |= read_direct(line.removeprefix("-r "))
        else:
            requirement = Requirement(line)
            direct[canonicalize_name(requirement.name)] = requirement
    return direct


def read_locked(name: str) -> dict[str, Requirement]:
    """Each distribution of a locked file that this machine needs, by canonical name.

    Raises AssertionError for a line without an exact version or without a hash, whatever machine it is for.
    """
    locked: dict[str, Requirement] = {}
    for line in _logical_lines(ROOT / name):
        text, *hashes = re.split(r" --hash=", line)
        requirement = Requirement(text)
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), f"{name}: {text}: not an exact version"
        assert hashes, f"{name}: {text}: no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes), f"{name}: {text}"
        if requirement.marker is None or requirement.marker.evaluate():
            locked[canonicalize_name(requirement.name)] = requirement
    return locked


def _logical_lines(path: Path) -> list[str]:
    """Continued lines joined, without comments and empty lines."""
    lines = re.sub(r"\\\n\s*", "", path.read_text()).splitlines()
    return [text for line in lines if (text := line.partition("#")[0].strip())]
