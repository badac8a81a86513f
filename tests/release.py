"""What `make release` runs: build the sdist and the wheel into dist/, and check them. Nothing is uploaded."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata

from tests.support.server import ROOT

PACKAGE = "golive"


@dataclass(frozen=True)
class Distributions:
    sdist: Path
    wheel: Path


class BuildError(Exception):
    """Nothing was built; the message is what the build said."""


def build(tree: Path, folder: Path) -> Distributions:
    """Build the sdist of `tree` into `folder`, and the wheel from the sdist. Needs no network. Raises BuildError."""
    done = subprocess.run(
        # Not isolated: an isolated build would download the backend that requirements-dev.txt has pinned.
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{done.stdout}{done.stderr}".rstrip())
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(sdist, wheel)


def find_faults(tree: Path, built: Distributions) -> list[str]:
    """What keeps these from being released, a line each."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    with tarfile.open(built.sdist) as archive:
        member = archive.extractfile(f"{built.sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        in_sdist = b"" if member is None else member.read()
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
        in_wheel = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
    return [
        *_check_changelog((tree / "CHANGELOG.md").read_text(), project["version"]),
        *_check_metadata(built.sdist.name, in_sdist, project["version"]),
        *_check_metadata(built.wheel.name, in_wheel, project["version"]),
        *_check_files({name for name in names if ".dist-info/" not in name}, list_package(tree)),
    ]


def list_package(tree: Path) -> set[str]:
    """All files of the package in `tree`, but for what Python caches."""
    paths = (tree / PACKAGE).rglob("*")
    return {path.relative_to(tree).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts}


def read_heading(changelog: str, version: str) -> str | None:
    """The heading of a version: `## 0.1.0 (2026-11-25)`, or `(unreleased)`."""
    found = re.search(rf"^## {re.escape(version)}(?: \(.+\))?$", changelog, re.MULTILINE)
    return found[0] if found else None


def _check_changelog(changelog: str, version: str) -> list[str]:
    return [] if read_heading(changelog, version) else [f"CHANGELOG.md has no heading `## {version}`."]


def _check_metadata(name: str, text: bytes, version: str) -> list[str]:
    """As a package index checks it before it takes a file."""
    try:
        metadata = Metadata.from_email(text)
    except ExceptionGroup as group:
        return [f"{name}: {error}" for error in group.exceptions if isinstance(error, InvalidMetadata)] or [str(group)]
    faults = []
    if str(metadata.version) != version:
        faults.append(f"{name} is of version {metadata.version}, and pyproject.toml of {version}.")
    if not metadata.description or metadata.description_content_type != "text/markdown":
        faults.append(f"{name} has no description in Markdown.")
    return faults


def _check_files(packed: set[str], expected: set[str]) -> list[str]:
    return [
        *(f"The wheel lacks {name}." for name in sorted(expected - packed)),
        *(f"The wheel holds {name}, which is not in the package." for name in sorted(packed - expected)),
    ]


def main() -> int:
    folder = ROOT / "dist"
    for leftover in (folder, ROOT / "build", *ROOT.glob("*.egg-info")):
        # A build takes up what an earlier one left, also modules that are gone.
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        built = build(ROOT, folder)
    except BuildError as error:
        print(f"release: the build failed:\n{error}", file=sys.stderr)
        return 1
    faults = find_faults(ROOT, built)
    for fault in faults:
        print(f"release: {fault}", file=sys.stderr)
    if faults:
        return 1
    for path in (built.sdist, built.wheel):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if "unreleased" in (read_heading((ROOT / "CHANGELOG.md").read_text(), version) or ""):
        print(f"CHANGELOG.md still calls {version} unreleased: write the date there before publishing it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
