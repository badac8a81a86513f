"""Trace the statements of a module or class body to the final binding of each name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from golive.migration_graph.readers.literals import UNKNOWN, Binding, Bindings, NotLiteralError, evaluate

STAR = "*"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def follow(statements: Iterable[ast.stmt], outer: Mapping[str, Binding] | None = None) -> Bindings:
    """The bindings after these statements. `outer` holds the names of the enclosing scope.

    A star import binds `*`. A name bound in a conditional branch is UNKNOWN unless all branches agree.
    """
    names: Bindings = dict(outer or {})
    for statement in statements:
        _follow(statement, names)
    return names


def _follow(statement: ast.stmt, names: Bindings) -> None:
    _bind_walrus(statement, names)
    follower = _FOLLOWERS.get(type(statement))
    if follower is not None:
        follower(statement, names)


def _follow_assignment(statement: ast.Assign, names: Bindings) -> None:
    for target in statement.targets:
        _assign(target, statement.value, names)


def _follow_annotated_assignment(statement: ast.AnnAssign, names: Bindings) -> None:
    if statement.value is not None:
        _assign(statement.target, statement.value, names)


def _follow_augmented_assignment(statement: ast.AugAssign, names: Bindings) -> None:
    target = statement.target
    if isinstance(target, ast.Name):
        previous = ast.copy_location(ast.Name(id=target.id, ctx=ast.Load()), target)
        value = ast.BinOp(left=previous, op=statement.op, right=statement.value)
        _assign(target, ast.copy_location(value, statement), names)


def _follow_with(statement: ast.With | ast.AsyncWith, names: Bindings) -> None:
    names.update(follow(statement.body, names))


def _follow_definition(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, names: Bindings) -> None:
    names[statement.name] = Binding(statement.lineno, UNKNOWN, None, "is a function or a class")


def _follow_import(statement: ast.Import | ast.ImportFrom, names: Bindings) -> None:
    for alias in statement.names:
        name = alias.asname or alias.name.partition(".")[0]
        # The one import whose runtime value is known.
        known = False if alias.name == "TYPE_CHECKING" else UNKNOWN
        names[name] = Binding(statement.lineno, known, None, "is imported")


def _follow_deletion(statement: ast.Delete, names: Bindings) -> None:
    for target in statement.targets:
        if isinstance(target, ast.Name):
            names.pop(target.id, None)


def _follow_expression(statement: ast.Expr, names: Bindings) -> None:
    """A method may mutate its object: `down_revision.append(...)`."""
    call = statement.value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        name = call.func.value.id
        if name in names and isinstance(names[name].value, (list, set, dict)):
            names[name] = Binding(statement.lineno, UNKNOWN, None, "is changed by a call")


def _assign(target: ast.expr, value: ast.expr, names: Bindings) -> None:
    if isinstance(target, ast.Name):
        names[target.id] = _bind(value, names)
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(target.elts, value, names)
    elif isinstance(target, ast.Subscript):
        _assign_item(target, value, names)


def _assign_item(target: ast.Subscript, value: ast.expr, names: Bindings) -> None:
    owner, item = target.value, target.slice
    if isinstance(owner, ast.Name) and owner.id in names:
        names[owner.id] = Binding(target.lineno, UNKNOWN, None, "is changed in place")
    elif _is_namespace(owner) and isinstance(item, ast.Constant) and isinstance(item.value, str):
        names[item.value] = _bind(value, names)


def _is_namespace(expression: ast.expr) -> bool:
    """Whether it gives the names of the module: `globals()["revision"] = ...` binds one."""
    return isinstance(expression, ast.Call) and any(
        _is_name(expression.func, name) for name in ("globals", "vars", "locals")
    )


def _bind(value: ast.expr, names: Mapping[str, Binding]) -> Binding:
    try:
        return Binding(value.lineno, evaluate(value, names), value)
    except NotLiteralError:
        return Binding(value.lineno, UNKNOWN, value, "is not a literal")
    except RecursionError:
        return Binding(value.lineno, UNKNOWN, value, "is nested too deeply")


def _unpack(targets: list[ast.expr], value: ast.expr, names: Bindings) -> None:
    elements = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
    if len(elements) == len(targets) and not any(isinstance(part, ast.Starred) for part in [*elements, *targets]):
        before = dict(names)
        for target, element in zip(targets, elements):
            if isinstance(target, ast.Name):
                names[target.id] = _bind(element, before)
        return
    for target in targets:
        inner = target.value if isinstance(target, ast.Starred) else target
        if isinstance(inner, ast.Name):
            names[inner.id] = Binding(target.lineno, UNKNOWN, None, "is unpacked from something")


def _follow_if(statement: ast.If, names: Bindings) -> None:
    try:
        taken = statement.body if evaluate(statement.test, names) else statement.orelse
    except NotLiteralError:
        _merge(names, [follow(statement.body, names), follow(statement.orelse, names)], "depends on a condition")
    else:
        names.update(follow(taken, names))


def _follow_try(statement: ast.Try, names: Bindings) -> None:
    completed = follow([*statement.body, *statement.orelse], names)
    if all(_cannot_fail(part, completed) for part in statement.body):
        names.update(completed)
    else:
        partial = follow(statement.body, names)
        handled = [follow(handler.body, state) for handler in statement.handlers for state in (names, partial)]
        _merge(names, [completed, *handled], "depends on what a try meets")
    names.update(follow(statement.finalbody, names))


def _cannot_fail(statement: ast.stmt, names: Mapping[str, Binding]) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    value: ast.expr | None = None
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        value = statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        value = statement.value if _is_name(statement.annotation, "str") else None
    return isinstance(statement, ast.Pass) or (value is not None and _bind(value, names).value is not UNKNOWN)


def _is_name(expression: ast.expr, name: str) -> bool:
    return isinstance(expression, ast.Name) and expression.id == name


def _merge(names: Bindings, branches: list[Bindings], reason: str) -> None:
    """Keep the bindings on which all branches agree; the rest become UNKNOWN."""
    bound = {name for branch in branches for name in branch}
    for name in sorted(bound):
        candidates = [branch.get(name) for branch in branches]
        first = candidates[0]
        if first is not None and all(
            other is not None and other.value is not UNKNOWN and other.value == first.value for other in candidates
        ):
            names[name] = first
        elif any(other is not names.get(name) for other in candidates):
            line = next(other.line for other in candidates if other is not None and other is not names.get(name))
            names[name] = Binding(line, UNKNOWN, None, reason)


def _lose(statement: ast.stmt, names: Bindings) -> None:
    """Make every name UNKNOWN that is bound inside a loop or a match."""
    for node in _walk_scope(statement):
        name = _get_bound_name(node)
        if name is not None:
            line = getattr(node, "lineno", statement.lineno)
            names[name] = Binding(line, UNKNOWN, None, "is bound in a loop or a match")


def _get_bound_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id if isinstance(node.ctx, ast.Store) else None
    if isinstance(node, ast.alias):
        return node.asname or node.name.partition(".")[0]
    # The patterns by the names of their types: Python has them since 3.10.
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)) or type(node).__name__ in ("MatchAs", "MatchStar"):
        return getattr(node, "name", None)
    return None


def _walk_scope(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of one scope, without nested functions and classes: they bind names in a scope of their own."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        if current is node or not isinstance(current, _SCOPES):
            children = [child for child in ast.iter_child_nodes(current) if not isinstance(child, ast.Lambda)]
            pending.extend(reversed(children))


def _bind_walrus(statement: ast.stmt, names: Bindings) -> None:
    if isinstance(statement, ast.If):
        inside: ast.expr | None = statement.test
    elif isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)):
        inside = statement.value
    else:
        return
    if inside is None or isinstance(inside, (ast.Constant, ast.Name)):
        return
    for node in _walk_scope(inside):
        if isinstance(node, ast.NamedExpr):
            names[node.target.id] = _bind(node.value, names)


def lose_globals(statements: Iterable[ast.stmt], names: Bindings) -> None:
    """Make names UNKNOWN that a function declares `global` and may rebind."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                for name in node.names:
                    names[name] = Binding(node.lineno, UNKNOWN, None, "is changed by a function")


_FOLLOWERS: Final[Mapping[type[ast.stmt], Callable[[Any, Bindings], None]]] = {
    ast.Assign: _follow_assignment,
    ast.AnnAssign: _follow_annotated_assignment,
    ast.AugAssign: _follow_augmented_assignment,
    ast.If: _follow_if,
    ast.Try: _follow_try,
    # `except*`: since Python 3.11.
    getattr(ast, "TryStar", ast.Try): _follow_try,
    ast.With: _follow_with,
    ast.AsyncWith: _follow_with,
    ast.For: _lose,
    ast.AsyncFor: _lose,
    ast.While: _lose,
    # Since Python 3.10.
    getattr(ast, "Match", ast.While): _lose,
    ast.FunctionDef: _follow_definition,
    ast.AsyncFunctionDef: _follow_definition,
    ast.ClassDef: _follow_definition,
    ast.Import: _follow_import,
    ast.ImportFrom: _follow_import,
    ast.Delete: _follow_deletion,
    ast.Expr: _follow_expression,
}
