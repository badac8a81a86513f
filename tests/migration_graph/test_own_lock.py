"""This project's own lock file: it is complete, and what runs the audit here reads it."""

from __future__ import annotations

from pathlib import Path

import yaml

from golive.migration_graph.audit import audit
from golive.migration_graph.findings.lock_file import FORMAT, LockFile, format_lock, read_lock
from tests.support.server import ROOT

PATH = ROOT / "migrations.lock"


def test_own_lock__has_every_migration__as_make_lock_migrations_writes_it() -> None:
    report = audit(ROOT)
    locked = read_lock(PATH)

    missing = {node.name for node in report.graph.nodes.values()} - locked.revisions.keys()

    assert missing == set(), "run `make lock-migrations`, and commit migrations.lock with the new migration"
    assert report.findings == ()
    assert locked.known == {}
    # Written by hand, it would look otherwise.
    assert PATH.read_text() == format_lock(LockFile(locked.revisions))
    assert f"format = {FORMAT}\n" in PATH.read_text()


def test_own_lock__hook_of_pre_commit__reads_it() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (hook,) = [hook for repository in config["repos"] for hook in repository["hooks"] if hook["id"] == "migrations"]

    folder = ROOT / Path(hook["entry"].split()[-1])

    assert (folder / "migrations.lock").samefile(PATH)
