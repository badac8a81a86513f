"""Reports made by hand, without a file and without an audit: what every form has to cope with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from golive.migration_graph.model import (
    Action,
    Commit,
    Cut,
    Edge,
    Edit,
    Episode,
    Finding,
    Graph,
    Headline,
    Kind,
    Node,
    Reference,
    Report,
    Severity,
)

COMMIT = Commit(
    "9e107d9d372bb6826bd81d3542a419d6a5d1b2c3", "Fix the migration chain", "2026-01-12T09:30:00+00:00", "ann"
)


def make_graph(
    parents: Mapping[str, Sequence[str]],
    *,
    dependencies: Mapping[str, Sequence[str]] | None = None,
    kind: Kind = Kind.ALEMBIC,
    messages: Mapping[str, str] | None = None,
) -> Graph:
    """A graph of names; the file of `a` is `versions/a.py`. A name that is nobody's dangles."""
    dependencies = dependencies or {}
    nodes = {
        get_key(name): Node(
            get_key(name),
            name,
            12,
            tuple(Reference(parent, 14) for parent in parents[name]),
            message=(messages or {}).get(name, ""),
        )
        for name in parents
    }
    children = {parent for ends in (*parents.values(), *dependencies.values()) for parent in ends}
    return Graph(
        kind,
        nodes,
        {get_key(name): tuple(get_key(end) for end in ends if end in parents) for name, ends in parents.items()},
        {get_key(name): tuple(get_key(end) for end in dependencies.get(name, ())) for name in parents},
        heads=tuple(sorted(name for name in parents if name not in children)),
        bases=tuple(sorted(name for name, ends in parents.items() if not ends)),
    )


def get_key(name: str) -> str:
    return f"versions/{name}.py"


def make_finding(code: str = "MG201", name: str = "multiple-heads", **fields: object) -> Finding:
    defaults: dict[str, object] = {
        "severity": Severity.ERROR,
        "message": "The graph has 2 heads: a, b.",
        "hint": "Merge them.",
    }
    return Finding(code, name, **{**defaults, **fields})  # type: ignore[arg-type]


def make_headline(finding: Finding, *edits: Edit, **fields: object) -> Headline:
    """What mends the finding: these edits, each with the present value as `before`."""
    defaults: dict[str, object] = {"command": None, "because": (), "heads": ("a",), "bases": ("a",), "is_sound": True}
    defaults["action"] = Action.RESTORE if edits else Action.MERGE
    return Headline(code=finding.code, revisions=finding.revisions, edits=edits, **{**defaults, **fields})  # type: ignore[arg-type]


def make_report(graph: Graph, *findings: Finding, **fields: object) -> Report:
    defaults: dict[str, object] = {"path": "backend", "merges": 0, "branch_points": 0}
    return Report(graph=graph, findings=findings, **{**defaults, **fields})  # type: ignore[arg-type]


def make_sound(revisions: int = 3) -> Report:
    return make_report(make_graph(make_chain(revisions)))


def make_chain(revisions: int) -> dict[str, list[str]]:
    return {f"r{n:03}": [f"r{n - 1:03}"] if n else [] for n in range(revisions)}


def make_incident(revisions: int = 108, *, with_history: bool = True) -> Report:
    """A chain whose root was pointed at its head, seven sound revisions on top, and a side line with two findings."""
    parents = make_chain(revisions)
    newest = f"r{revisions - 1:03}"
    parents["r000"] = [newest]
    parents |= {"side1": ["r020"], "side2": ["side1"], "merge": ["r040", "side2"]}
    parents["r041"] = ["merge"]
    for n in range(4):
        parents[f"top{n}"] = [f"top{n - 1}" if n else newest]
    graph = make_graph(parents, messages={"r000": "Create the first tables", "side1": "Add contracts"})
    guilty = Edge("r000", newest, get_key("r000"), 14)
    others = tuple(Cut((Edge(f"r{n:03}", f"r{n - 1:03}", get_key(f"r{n:03}"), 14),), rank=2) for n in range(1, 12))
    best = Cut(
        (guilty,),
        restore="None" if with_history else None,
        because=("the edge was made by the commit that closed the cycle", "the parent is newer than its child"),
        heads=("top3",),
        bases=("r000",),
        is_sound=True,
    )
    cycle = make_finding(
        "MG101",
        "cycle",
        message=f"{revisions + 3} revisions form a cycle, and nothing can be ordered.",
        hint="Take one edge out.",
        file=get_key("r000"),
        line=14,
        revisions=tuple(parents)[: revisions + 3],
        cycle=tuple(f"r{n:03}" for n in range(revisions - 1, -1, -1)),
        cuts=(best, *others),
        affected=revisions + 7,
        is_minimal=True,
        introduced_by=COMMIT if with_history else None,
        edit=Edit(get_key("r000"), 14, "None", f"'{newest}'") if with_history else None,
    )
    warning = make_finding(
        "MG204",
        "irreversible",
        severity=Severity.WARNING,
        message="side1 cannot be undone: its downgrade is empty.",
        hint="Write it, or raise in it.",
        file=get_key("side1"),
        line=20,
        revisions=("side1",),
    )
    headline = make_headline(
        cycle, Edit(get_key("r000"), 14, f"'{newest}'", "None"), because=best.because, heads=("top3",), bases=("r000",)
    )
    history: dict[str, object] = {"headline": headline} if with_history else {}
    history |= {"episodes": (Episode("MG101", "a cycle of 111 revisions", COMMIT, None),)} if with_history else {}
    return make_report(graph, cycle, warning, merges=1, branch_points=1, **history)


def make_tie() -> Report:
    """A cycle of three of which every edge is as good a remedy as the others."""
    graph = make_graph({"a": ["c"], "b": ["a"], "c": ["b"]})
    edges = [Edge(child, parent, get_key(child), 14) for child, parent in (("a", "c"), ("b", "a"), ("c", "b"))]
    finding = make_finding(
        "MG101",
        "cycle",
        message="3 revisions form a cycle.",
        file=get_key("a"),
        line=14,
        revisions=("a", "b", "c"),
        cycle=("a", "c", "b"),
        cuts=tuple(Cut((edge,)) for edge in edges),
        affected=3,
        is_minimal=True,
    )
    return make_report(graph, finding)
