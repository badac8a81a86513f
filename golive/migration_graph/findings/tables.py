"""MG205: a table that one upgrade creates twice. For Alembic; Django refuses it by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.graph.upgrades import is_loadable, plan_upgrade
from golive.migration_graph.model import Finding, Graph, Kind, ParsedFile
from golive.migration_graph.readers.syntax import parse

# Key -> content of the file.
Read = Callable[[str], bytes]
_REMOVAL = re.compile(r"\b(DROP|RENAME)\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Step:
    """One statement of an upgrade: it makes the table, or takes the name away."""

    creates: bool
    line: int


def find_tables_created_twice(graph: Graph, files: Iterable[ParsedFile], read: Read) -> Iterator[Finding]:
    """`read` is asked only for the files that may matter: those of tables that several files seem to create."""
    makers: dict[str, list[str]] = {}
    for file in files:
        for table in file.tables:
            makers.setdefault(table, []).append(file.key)
    suspects = {table: keys for table, keys in makers.items() if len(keys) > 1}
    if graph.kind is not Kind.ALEMBIC or not suspects or not is_loadable(graph):
        return
    keys = {node.name: key for key, node in graph.nodes.items()}
    order = [keys[name] for name in plan_upgrade(graph, ())]
    upgrades: dict[str, list[ast.stmt]] = {}
    for table in sorted(suspects):
        first = min(order.index(key) for key in suspects[table])
        last = max(order.index(key) for key in suspects[table])
        concerned = [key for key in order[first : last + 1] if table.encode() in read(key)]
        for key in concerned:
            if key not in upgrades:
                upgrades[key] = _read_upgrade(key, read(key))
        yield from _find_second(graph, table, {key: list(_list_steps(upgrades[key], table)) for key in concerned})


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
                f"{second} creates the table {table}, as {first} does before it, and nothing drops it between: an "
                "upgrade of an empty database fails there.",
                f"Take it out of {second}, or of {first} if no database has run that one.",
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
