"""What an upgrade skips, repeats or refuses at a position, held against what real Alembic and real Django then do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.migrations import Migration, RunSQL
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from golive.migration_graph.audit import AuditRequest, audit_layout, run_audit
from golive.migration_graph.discovery.contents import read_bodies
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.graph.positions import Outcome, Position, Upgrades
from golive.migration_graph.graph.upgrades import find_partly_applied, is_loadable
from golive.migration_graph.model import AppliedRows, Kind, Node, ParsedFile, Reference, Report, Severity, split_name
from tests.migration_graph.alembic_database import AlembicDatabase
from tests.migration_graph.git_repository import GitRepository
from tests.support.profiles import examples


@dataclass(frozen=True)
class Revision:
    """`body`: what its upgrade records; "" for one that does nothing."""

    parents: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    body: str = ""


Revisions = Mapping[str, Revision]


def write_revisions(folder: Path, revisions: Revisions) -> Path:
    versions = folder / "versions"
    versions.mkdir(parents=True)
    for name, revision in revisions.items():
        (versions / f"{name}.py").write_text(render(name, revision))
    (folder / "env.py").write_text("")
    return folder


def render(name: str, revision: Revision) -> str:
    work = f"op.execute(\"INSERT INTO ran VALUES ('{revision.body}')\")" if revision.body else "pass"
    return (
        f"from alembic import op\n\nrevision = {name!r}\ndown_revision = {revision.parents or None!r}\n"
        f"depends_on = {revision.dependencies or None!r}\n\n\ndef upgrade():\n    {work}\n"
    )


def read_upgrades(folder: Path) -> Upgrades | None:
    """The upgrades of the files; None if the audit has an error that stops Alembic."""
    layout = find_layout(folder)
    report = audit_layout(folder, layout)
    if any(each.severity is Severity.ERROR and each.code != "MG201" for each in report.findings):
        return None
    return Upgrades(report.graph, read_bodies(layout))


@st.composite
def revisions(draw: st.DrawFn) -> dict[str, Revision]:
    made: dict[str, Revision] = {}
    for number in range(draw(st.integers(1, 7))):
        before = list(made)
        parents = draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
        others = [name for name in before if name not in parents]
        dependencies = draw(st.lists(st.sampled_from(others), max_size=1)) if others else []
        body = draw(st.booleans()) or len(parents) < 2
        made[f"r{number}"] = Revision(tuple(parents), tuple(dependencies), f"body {number}" if body else "")
    return made


def list_edits(name: str, before: Revisions, others: Sequence[str]) -> dict[str, dict[str, Revision]]:
    """What people do to one revision: kind of the edit -> the revisions after it. `others`: for another parent."""
    chosen, rest = before[name], {other: revision for other, revision in before.items() if other != name}
    parents = tuple(others)
    return {
        "another parent": {**before, name: replace(chosen, parents=parents)},
        "another dependency": {**before, name: replace(chosen, dependencies=parents)},
        "one put between": {
            **before,
            name: replace(chosen, parents=("new",)),
            "new": Revision(chosen.parents, (), "body new"),
        },
        "taken out": {child: link(revision, name, chosen.parents) for child, revision in rest.items()},
        "renamed": {"other": chosen, **{child: link(revision, name, ("other",)) for child, revision in rest.items()}},
        "edited": {**before, name: replace(chosen, body="body edited")},
        "copied": {**before, "copy": replace(chosen, parents=parents)},
        "one put on top": {**before, "last": Revision(parents, (), "body last")},
    }


def link(revision: Revision, old: str, new: Sequence[str]) -> Revision:
    """The revision with other parents in the place of one."""
    if old not in revision.parents:
        return revision
    return replace(revision, parents=tuple(dict.fromkeys((*(each for each in revision.parents if each != old), *new))))


@st.composite
def edit(draw: st.DrawFn, before: Revisions) -> dict[str, Revision]:
    name = draw(st.sampled_from(sorted(before)))
    rest = sorted(set(before) - {name})
    others = draw(st.lists(st.sampled_from(rest), max_size=2, unique=True)) if rest else []
    edits = list_edits(name, before, others)
    return edits[draw(st.sampled_from(sorted(edits)))] or dict(before)


def compare(folder: Path, database: AlembicDatabase, after: Revisions) -> Outcome | None:
    """Judge a position, let real Alembic upgrade, and hold the one against the other. None: the audit has errors."""
    rows, ran = database.rows, database.ran
    upgrades = read_upgrades(write_revisions(folder, after))
    if upgrades is None:
        # Some of the graphs that the audit refuses are loaded by Alembic, and others keep it busy for ever.
        return None
    bodies = {revision.body: upgrades.get_body(name) for name, revision in after.items()}
    # What ran and has no file any more has a body that no file has.
    position = Position(rows, frozenset((body, bodies.get(body, body)) for body in ran))
    outcome = upgrades.judge(position)

    assert database.upgrade(folder) != outcome.is_stuck
    if not outcome.is_stuck:
        now = database.ran[len(ran) :]
        assert {after[name].body for name in outcome.repeated} == set(ran).intersection(now)
        never = {revision.body for revision in after.values()} - {*database.ran, ""}
        # A copy of what is skipped may run.
        assert {after[name].body for name in outcome.skipped} - set(now) == never
        assert upgrades.rows_after(rows) == database.rows
    return outcome


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_judge__any_graph_any_edits_any_position__says_what_real_alembic_then_does(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("graph", numbered=True)
    before = data.draw(revisions())
    database = AlembicDatabase()
    targets = data.draw(st.lists(st.sampled_from(sorted(before)), max_size=3, unique=True))
    # Alembic refuses targets of which one comes before another.
    assume(database.upgrade(write_revisions(folder / "before", before), targets or "base"))
    if targets and data.draw(st.integers(0, 9)) == 0:
        # A stamp by hand.
        database.stamp(data.draw(st.lists(st.sampled_from(sorted(before)), max_size=2, unique=True)))
    after: Revisions = before
    for _ in range(data.draw(st.integers(0, 3))):
        after = data.draw(edit(after))

    assume(compare(folder / "after", database, after) is not None)


def chain(text: str) -> dict[str, Revision]:
    """`a b:a m:b,c+d`: each revision with its parents, and behind a plus what it depends on; `m` does nothing."""
    made = {}
    for word in text.split():
        name, _, before = word.partition(":")
        parents, _, dependencies = before.partition("+")
        made[name] = Revision(split(parents), split(dependencies), "" if name == "m" else f"body {name}")
    return made


def split(names: str) -> tuple[str, ...]:
    return tuple(filter(None, names.split(",")))


@pytest.mark.parametrize(
    ("before", "targets", "after", "expected"),
    [
        pytest.param("a b:a c:b", "c", "a b:a x:b c:x", Outcome(skipped=("x",)), id="put below what has run"),
        pytest.param(
            "a b:a o:b", "o", "a b:a t:b o:t", Outcome(skipped=("t",)), id="two heads made linear, one had run"
        ),
        pytest.param("a b:a o:b t:b", "o t", "a b:a t:b o:t", Outcome(is_stuck=True), id="the same, both had run"),
        pytest.param("a b:a o:b t:b", "o", "a b:a t:b o:b m:o,t", Outcome(), id="the same, merged"),
        pytest.param("a b:a c:b", "c", "a b:a c", Outcome(repeated=("a", "b")), id="cut below what has run"),
        pytest.param("a b c:b+a", "c", "a b c:b", Outcome(repeated=("a",)), id="a dependency dropped"),
        pytest.param("a b:a n c:b", "c", "a b:a n c:b+n", Outcome(skipped=("n",)), id="a dependency added"),
        pytest.param("a b:a n c:b", "c n", "a b:a n c:b+n", Outcome(is_stuck=True), id="a dependency on a row"),
        pytest.param("a b:a c:b", "b", "c", Outcome(is_stuck=True), id="an old release goes on below a baseline"),
        pytest.param("a b:a c:b", "c", "c", Outcome(), id="a baseline that keeps the id"),
        pytest.param("a b c:+a", "", "a b c:+a m:a,b+c", Outcome(is_stuck=True), id="a merge of what comes earlier"),
    ],
)
def test_judge__what_people_do__says_what_real_alembic_then_does(
    tmp_path: Path, before: str, targets: str, after: str, expected: Outcome
) -> None:
    database = AlembicDatabase()
    assert database.upgrade(write_revisions(tmp_path / "before", chain(before)), targets.split() or "base")

    assert compare(tmp_path / "after", database, chain(after)) == expected


def test_right_rows__are_those_with_which_an_upgrade_runs_what_is_missing(tmp_path: Path) -> None:
    upgrades = read_upgrades(write_revisions(tmp_path, chain("a b:a x:b c:x m:c d:m")))
    assert upgrades is not None
    bodies = {name: upgrades.get_body(name) for name in "abxcd"}

    def find(names: str) -> tuple[str, ...] | None:
        return upgrades.find_right_rows(frozenset(bodies[name] for name in names))

    assert find("ab") == ("b",)
    assert find("abxc") == ("m",)
    assert find("") == ()
    assert find("abc") is None


# -- with the history -----------------------------------------------------------------------------------------------


def read_applied(rows: frozenset[str], url: str, kind: Kind) -> AppliedRows:
    return AppliedRows(url, tuple(sorted(rows)))


def audit_against(folder: Path, rows: frozenset[str]) -> Report:
    request = AuditRequest(with_history=True, databases=("database",))
    return run_audit(str(folder), request, partial(read_applied, rows)).report


@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_history__any_deploys_of_any_commits__no_harm_goes_untold(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A database that real Alembic upgraded at some of the commits, and then at what is in the folder."""
    folder = tmp_path_factory.mktemp("line", numbered=True)
    made = GitRepository(folder / "repository")
    database = AlembicDatabase()
    state: dict[str, Revision] = {}
    committed: dict[str, str] = {}
    deployed = folder
    for number in range(data.draw(st.integers(1, 5))):
        is_edit = bool(state) and data.draw(st.booleans())
        state = data.draw(edit(state)) if is_edit else grow(data, state, number)
        files = {f"versions/{name}.py": render(name, revision) for name, revision in state.items()}
        gone: dict[str, str | None] = {path: None for path in committed if path not in files}
        made.commit({**files, **gone})
        committed = files
        deployed = write_revisions(folder / f"commit{number}", state)
        if data.draw(st.booleans()) and read_upgrades(deployed) is not None:
            database.upgrade(deployed)
    made.write()
    ran = database.ran
    if not ran or read_upgrades(folder / "repository") is None:
        return

    report = audit_against(folder / "repository", database.rows)

    told = {(each.code, name) for each in report.findings for name in each.revisions}
    is_done = database.upgrade(deployed)
    assert is_done == (report.pending is not None)
    if is_done:
        now = database.ran[len(ran) :]
        for name, revision in state.items():
            if revision.body and revision.body not in database.ran:
                assert ("MG303", name) in told or ("MG306", name) in told
            elif revision.body in ran and revision.body in now:
                assert any(("MG304", other) in told for other in state if state[other].body == revision.body)


def grow(data: st.DataObject, before: Revisions, number: int) -> dict[str, Revision]:
    """One more revision, on top of any."""
    parents = data.draw(st.lists(st.sampled_from(sorted(before)), max_size=2, unique=True)) if before else []
    return {**before, f"s{number}": Revision(tuple(parents), (), f"body s{number}")}


# -- Django ------------------------------------------------------------------------------------------------------------


class Loader(MigrationLoader):
    """Django's own loader, for migrations that are in no file."""

    made: Mapping[str, Revision]
    squashed: Mapping[str, Sequence[str]]

    def load_disk(self) -> None:
        self.unmigrated_apps, self.migrated_apps = set(), {"x", "y"}
        self.disk_migrations = {split_name(name): self._make(name) for name in self.made}

    def _make(self, name: str) -> Migration:
        app, own = split_name(name)
        revision = self.made[name]
        attributes = {
            "dependencies": [split_name(parent) for parent in revision.parents],
            "replaces": [split_name(old) for old in self.squashed.get(name, ())],
            "operations": [RunSQL(f"INSERT INTO ran VALUES ('{revision.body}')")] if revision.body else [],
        }
        made: Migration = type("Migration", (Migration,), attributes)(own, app)
        return made


class DjangoDatabase:
    """An SQLite database that real Django migrates; the migrations record what ran."""

    def __init__(self) -> None:
        settings_dict = {**connections["default"].settings_dict, "NAME": ":memory:", "OPTIONS": {}}
        self.connection = connections["other"] = DatabaseWrapper(settings_dict, "other")
        with self.connection.cursor() as cursor:
            cursor.execute("CREATE TABLE ran (body TEXT)")

    def migrate(
        self,
        made: Mapping[str, Revision],
        targets: Sequence[str] | None = None,
        squashed: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Whether Django did it. None: everything."""
        loader = type("Made", (Loader,), {"made": made, "squashed": squashed or {}})
        executor = MigrationExecutor(self.connection)
        executor.loader = loader(self.connection)
        try:
            executor.loader.check_consistent_history(self.connection)
        except InconsistentMigrationHistory:
            return False
        executor.migrate(executor.loader.graph.leaf_nodes() if targets is None else list(map(split_name, targets)))
        return True

    @property
    def rows(self) -> frozenset[str]:
        applied = MigrationRecorder(self.connection).applied_migrations()
        return frozenset(f"{app}.{name}" for app, name in applied)

    @property
    def ran(self) -> list[str]:
        with self.connection.cursor() as cursor:
            return [body for (body,) in cursor.execute("SELECT body FROM ran").fetchall()]


def read_django(
    made: Mapping[str, Revision], squashed: Mapping[str, Sequence[str]], rows: frozenset[str]
) -> Upgrades | None:
    """The upgrades of a graph; None if it cannot be loaded."""
    files = []
    for name, revision in made.items():
        key = f"{name.replace('.', '/migrations/')}.py"
        node = Node(key, name, 1, tuple(Reference(parent, 1) for parent in revision.parents))
        files.append(ParsedFile(key, node, replaces=tuple(squashed.get(name, ()))))
    graph = build_graph(Kind.DJANGO, files)
    if partly := find_partly_applied(graph, rows):
        graph = build_graph(Kind.DJANGO, files, partly_applied=partly)
    if not is_loadable(graph):
        return None
    return Upgrades(graph, {key: made[node.name].body for key, node in graph.nodes.items()})


@st.composite
def migrations(draw: st.DrawFn) -> dict[str, Revision]:
    made: dict[str, Revision] = {}
    for number in range(draw(st.integers(1, 7))):
        name = f"{draw(st.sampled_from('xy'))}.{number:04}"
        before = list(made)
        parents = draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
        made[name] = Revision(tuple(parents), (), f"body {number}")
    return made


def edit_django(data: st.DataObject, before: Mapping[str, Revision]) -> dict[str, Revision]:
    name = data.draw(st.sampled_from(sorted(before)))
    # Only what comes earlier by number, so that no loop is made.
    earlier = [other for other in sorted(before) if split_name(other)[1] < split_name(name)[1]]
    others = data.draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
    edits = list_edits(name, before, others)
    del edits["another dependency"]
    chosen = edits[data.draw(st.sampled_from(sorted(edits)))]
    app, own = split_name(name)
    full = {"new": f"{app}.{own}a", "other": f"{app}.{own}b", "copy": f"{app}.{own}c", "last": f"{app}.{own}d"}
    return {
        full.get(key, key): replace(revision, parents=tuple(full.get(parent, parent) for parent in revision.parents))
        for key, revision in chosen.items()
    }


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_judge__any_django_graph_any_edits_any_position__says_what_real_django_then_does(
    django_db_blocker: DjangoDbBlocker, data: st.DataObject
) -> None:
    with django_db_blocker.unblock():
        database = DjangoDatabase()
        try:
            compare_with_django(data, database)
        finally:
            database.connection.close()
            del connections["other"]


def compare_with_django(data: st.DataObject, database: DjangoDatabase) -> None:
    before = data.draw(migrations())
    targets = data.draw(st.lists(st.sampled_from(sorted(before)), max_size=3, unique=True))
    for target in targets:
        # Django goes back to a target that is applied.
        assert target in database.rows or database.migrate(before, [target])
    after: Mapping[str, Revision] = before
    for _ in range(data.draw(st.integers(0, 3))):
        after = edit_django(data, after) or after
    squashed: dict[str, Sequence[str]] = {}
    if len(after) > 1 and data.draw(st.booleans()):
        old = data.draw(st.lists(st.sampled_from(sorted(after)), min_size=1, max_size=2, unique=True))
        inner = {parent for name in old for parent in after[name].parents} - set(old)
        if {split_name(name)[0] for name in old} == {"x"} and not any(
            set(after[name].parents) & set(old) for name in inner
        ):
            squashed["x.0000_squashed"] = old
            after = {**after, "x.0000_squashed": Revision(tuple(sorted(inner)), (), "body squashed")}
    rows, ran = database.rows, database.ran

    upgrades = read_django(after, squashed, rows)
    assume(upgrades is not None)
    assert upgrades is not None
    gone = {name: before[name].body for name in rows}
    outcome = upgrades.judge(Position(rows, frozenset((name, gone[name]) for name in rows)))

    is_done = database.migrate(after, squashed=squashed)
    assert is_done != outcome.is_stuck
    if is_done:
        now = database.ran[len(ran) :]
        assert {after[name].body for name in outcome.repeated} == set(ran).intersection(now)
        # The old ones and the squashed one stand for each other.
        aside = {*squashed, *(each for names in squashed.values() for each in names)}
        never = {revision.body for name, revision in after.items() if name not in aside} - set(database.ran)
        assert {after[name].body for name in outcome.skipped if name not in aside} - set(now) == never
