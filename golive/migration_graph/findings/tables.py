"""MG205: a table that one upgrade creates twice. For Alembic; Django refuses it by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.graph.upgrades import is_loadable, plan_upgrade
from golive.migration_graph.model import Finding, Graph, Kind, ParsedFile
from golive.migration_graph.readers.syntax import parse

# Key -> content of the file; None: it cannot be read.
Read = Callable[[str], "bytes | None"]
# How many tables that several files seem to create are looked at.
MAX_TABLES = 100
_MAX_NAMES = 5
_REMOVAL = re.compile(r"\b(DROP|RENAME)\b", re.IGNORECASE)
_UPGRADE = re.compile(rb"^def upgrade\b.*?(?=^def downgrade\b|\Z)", re.MULTILINE | re.DOTALL)
_REMOVES = re.compile(rb"drop|rename", re.IGNORECASE)
_WORD = re.compile(rb"\w+")


@dataclass(frozen=True)
class _Step:
    """One statement of an upgrade: it makes the table, or takes the name away."""

    creates: bool
    line: int


def find_tables_created_twice(graph: Graph, files: Iterable[ParsedFile], read: Read) -> Iterator[Finding]:
    """`read` is asked for nothing unless several files seem to create one table, and then once for each file."""
    makers: dict[str, list[str]] = {}
    for file in files:
        for table in file.tables:
            makers.setdefault(table, []).append(file.key)
    suspects = {table: keys for table, keys in sorted(makers.items()) if len(keys) > 1}
    if graph.kind is not Kind.ALEMBIC or not suspects or not is_loadable(graph):
        return
    chosen = dict(islice(suspects.items(), MAX_TABLES))
    keys = {node.name: key for key, node in graph.nodes.items()}
    steps: dict[str, dict[str, list[_Step]]] = {table: {} for table in chosen}
    for key in (keys[name] for name in plan_upgrade(graph, ())):
        content = read(key) or b""
        concerned = [table for table in chosen if key in chosen[table]] + _list_removed(content, chosen)
        if concerned:
            upgrade = _read_upgrade(key, content)
            for table in concerned:
                steps[table][key] = list(_list_steps(upgrade, table))
    for table in chosen:
        yield from _find_second(graph, table, steps[table])
    if len(suspects) > len(chosen):
        yield _report_others(list(suspects)[MAX_TABLES:])


def _list_removed(content: bytes, tables: Collection[str]) -> list[str]:
    """The tables that the function `upgrade` may drop or rename, by a look at its text."""
    found = _UPGRADE.search(content)
    text = found[0] if found else content
    if not _REMOVES.search(text):
        return []
    words = set(_WORD.findall(text))
    return [table for table in tables if words.issuperset(_WORD.findall(table.encode()))]


def _report_others(tables: Sequence[str]) -> Finding:
    shown = ", ".join(tables[:_MAX_NAMES]) + (f" and {len(tables) - _MAX_NAMES} more" if tables[_MAX_NAMES:] else "")
    return make_finding(
        "MG205",
        f"Several files create these tables too, and the audit did not look into it: {shown}.",
        "Look whether each is dropped before it is made again.",
    )


def _find_second(graph: Graph, table: str, steps: Mapping[str, Sequence[_Step]]) -> Iterator[Finding]:
    maker = None
    for key, step in ((key, step) for key, of_file in steps.items() for step in of_file):
        if not step.creates:
            maker = None
        elif maker is None:
            maker = key
        else:
            first, second = graph.nodes[maker].name, graph.nodes[key].name
            yield make_finding(
                "MG205",
                f"{second} creates the table {table}, as {first} does before it, and nothing that can be read drops it "
                "between: then an upgrade of an empty database fails there.",
                f"Take it out of {second}, or of {first} if no database has run that one; unless a function elsewhere "
                "drops the table.",
                file=key,
                line=step.line,
                revisions=(first, second),
            )


def _read_upgrade(key: str, content: bytes) -> list[ast.stmt]:
    """The statements of the function `upgrade`."""
    tree = parse(key, content)
    if isinstance(tree, Finding):
        return []
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "upgrade"]
    return functions[-1].body if functions else []


def _list_steps(statements: Iterable[ast.stmt], table: str) -> Iterator[_Step]:
    """What the statements do to a table, in order. A table that is created only under a condition does not count."""
    for statement in statements:
        if isinstance(statement, ast.With):
            yield from _list_steps(statement.body, table)
            continue
        calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
        if any(_removes(call, table) for call in calls):
            yield _Step(creates=False, line=statement.lineno)
        value = statement.value if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Call) and _creates(value, table):
            yield _Step(creates=True, line=statement.lineno)


def _creates(call: ast.Call, table: str) -> bool:
    options = {keyword.arg for keyword in call.keywords}
    return (
        _get_method(call) == "create_table"
        and bool(call.args)
        and _get_text(call.args[0]) == table
        and options.isdisjoint({"schema", "if_not_exists", None})
    )


def _removes(call: ast.Call, table: str) -> bool:
    texts = [_get_text(node) for node in ast.walk(call)]
    if _get_method(call) in ("drop_table", "rename_table"):
        return table in texts
    return any(_REMOVAL.search(text) and table in text for text in texts)


def _get_method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _get_text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
