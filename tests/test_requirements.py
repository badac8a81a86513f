"""The requirements: exact, with hashes, complete, in step with what they were made of, and each with its reason."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.documents import read
from tests.support.requirements import read_direct, read_locked

FILES = ("requirements", "requirements-dev", "requirements-bench")


@pytest.mark.parametrize("name", FILES)
def test_locked__holds_the_direct_ones_as_they_are(name: str) -> None:
    locked = read_locked(f"{name}.txt")
    differing = {
        str(requirement)
        for key, requirement in read_direct(f"{name}.in").items()
        if key not in locked
        or (locked[key].specifier, locked[key].extras) != (requirement.specifier, requirement.extras)
    }

    assert differing == set(), "run `make lock`"


def test_locked__development__holds_what_production_has() -> None:
    production, development = read_locked("requirements.txt"), read_locked("requirements-dev.txt")

    assert {name: str(pin.specifier) for name, pin in production.items()} == {
        name: str(development[name].specifier) for name in production
    }


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_locked__nothing_that_is_needed_is_missing(name: str) -> None:
    locked = read_locked(name)

    missing = {
        f"{key} needs {needed.name}"
        for key, pin in locked.items()
        for text in importlib.metadata.requires(key) or []
        if _is_needed(needed := Requirement(text), pin.extras) and canonicalize_name(needed.name) not in locked
    }

    assert not missing


def _is_needed(requirement: Requirement, extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""})


def test_direct__each_has_its_reason() -> None:
    _, _, table = read("docs/contribute/layout.md").partition("## Libraries")
    cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    named = {canonicalize_name(word) for cell in cells for word in re.findall(r"[\w-]+", cell)}

    # Types have the reason of what they describe.
    assert {name.removeprefix("types-") for name in read_direct("requirements-dev.in")} - named == set()
