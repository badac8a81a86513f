"""Findings of names: ids and labels that are taken, too long, or words of the tool's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.findings.evidence import get_age
from golive.migration_graph.model import Finding, Graph, Kind

# The width of `alembic_version.version_num`.
MAX_ID_LENGTH = 32
# What Alembic's commands take for something else than an id.
RESERVED_IDS = ("base", "head", "heads")

# Name -> keys of the files that define it.
Names = Mapping[str, Sequence[str]]


def find_name_defects(graph: Graph, names: Names, second: set[str], reading: Sequence[str]) -> Iterator[Finding]:
    """MG103, MG109 and MG110. `second`: see `find_second_definitions`. `reading`: the keys, as the tool reads them."""
    yield from _find_duplicates(graph, names, second, reading)
    yield from _find_long_ids(graph)
    yield from _find_reserved(graph, names)
    yield from _find_taken_labels(graph, names)
    yield from _find_reused(graph, names)


def find_second_definitions(graph: Graph, names: Names) -> set[str]:
    """The files that define the id of one of their own ancestors: they were made after it, and close a loop."""
    second = set()
    for keys in names.values():
        if len(keys) > 1:
            reaching = {key for key in keys if set(keys) & collect_ancestors(graph, [key])}
            second |= reaching if len(reaching) < len(keys) else set()
    return second


def _find_duplicates(graph: Graph, names: Names, second: set[str], reading: Sequence[str]) -> Iterator[Finding]:
    for name, keys in names.items():
        if len(keys) > 1:
            ordered = [key for key in reading if key in keys] or list(keys)
            newest = max((graph.nodes[key] for key in keys), key=lambda n: (n.key in second, get_age(n), n.key))
            if newest.key in second:
                hint = f"Give {newest.key} a new id: it comes after the other, and that opens the loop which it closes."
            else:
                hint = "Give the newer one a new id; the history tells which that is."
            yield describe_duplicate(graph, name, newest.key, ordered, hint)


def describe_duplicate(graph: Graph, name: str, newest: str, keys: Sequence[str], hint: str) -> Finding:
    """MG103 for files (`keys`, as the tool reads them) of one id."""
    others = ", ".join(key for key in keys if key != newest)
    if len({graph.nodes[key].content_hash for key in keys}) == 1:
        hint = "They are the same to the byte: delete all but one."
    return make_finding(
        "MG103",
        f"{name} is the id of {len(keys)} files: {others} and {newest}. The tool runs the one that it reads last, "
        f"which is {keys[-1]}, and none of the others.",
        hint,
        file=newest,
        line=graph.nodes[newest].line,
        revisions=(name,),
    )


def _find_long_ids(graph: Graph) -> Iterator[Finding]:
    for key, node in graph.nodes.items():
        if graph.kind is Kind.ALEMBIC and len(node.name) > MAX_ID_LENGTH:
            yield make_finding(
                "MG109",
                f"The id of {key} has {len(node.name)} characters, and `alembic_version` holds {MAX_ID_LENGTH}: "
                "PostgreSQL refuses to record it.",
                "Shorten the id, and the references to it, before a database has run it; or widen the column first.",
                file=key,
                line=node.line,
                revisions=(node.name,),
            )


def _find_reserved(graph: Graph, names: Names) -> Iterator[Finding]:
    for word in RESERVED_IDS if graph.kind is Kind.ALEMBIC else ():
        for key in names.get(word, ()):
            yield make_finding(
                "MG110",
                f"{key} has the id {word!r}, a word that Alembic's commands take for something else.",
                "Give it an id of its own.",
                file=key,
                line=graph.nodes[key].line,
                revisions=(word,),
            )


def _find_taken_labels(graph: Graph, names: Names) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for key, node in graph.nodes.items():
        for label in node.branch_labels:
            taken = seen.get(label) or next(iter(names.get(label, ())), None)
            if taken is not None:
                yield make_finding(
                    "MG110",
                    f"The branch label {label!r} of {key} is taken already, by {taken}.",
                    "Alembic loads nothing until the label is unique.",
                    file=key,
                    line=node.line,
                    revisions=(node.name,),
                )
            seen.setdefault(label, key)


def _find_reused(graph: Graph, names: Names) -> Iterator[Finding]:
    """A new migration with the name of one that was squashed: Django takes it for the old one, and never runs it."""
    for old, new in graph.replaced.items():
        name, squashed = graph.nodes[old].name, graph.nodes[new].name
        if squashed in _collect_names_before(graph, names, name):
            yield make_finding(
                "MG110",
                f"{name} comes after {squashed}, which replaces one of that name: Django takes it for the old one.",
                "Give the newer file another number.",
                file=old,
                line=graph.nodes[old].line,
                revisions=(name, squashed),
            )


def _collect_names_before(graph: Graph, names: Names, name: str) -> set[str]:
    seen: set[str] = set()
    pending = [name]
    while pending:
        for key in names.get(pending.pop(), ()):
            new = {reference.name for reference in graph.nodes[key].references} - seen
            seen |= new
            pending += new
    return seen


def collect_ancestors(graph: Graph, keys: Sequence[str]) -> set[str]:
    """The keys of all revisions before these."""
    seen: set[str] = set()
    pending = list(keys)
    while pending:
        new = [parent for parent in graph.parents.get(pending.pop(), ()) if parent not in seen]
        seen.update(new)
        pending += new
    return seen
