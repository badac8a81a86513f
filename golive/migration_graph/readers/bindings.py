"""Trace the statements of a module or class body to the final binding of each name."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

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


def _follow(statement: ast.stmt, names: Bindings) -> None:  # noqa: C901, PLR0912 - one case for each kind of statement
    _bind_walrus(statement, names)
    match statement:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                _assign(target, value, names)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            _assign(target, value, names)
        case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
            previous = ast.copy_location(ast.Name(id=name, ctx=ast.Load()), target)
            _assign(target, ast.copy_location(ast.BinOp(left=previous, op=op, right=value), statement), names)
        case ast.If(test=test, body=body, orelse=orelse):
            _follow_if(test, body, orelse, names)
        case ast.Try() | ast.TryStar():
            _follow_try(statement, names)
        case ast.With(body=body) | ast.AsyncWith(body=body):
            names.update(follow(body, names))
        case ast.For() | ast.AsyncFor() | ast.While() | ast.Match():
            _lose(statement, names, "is bound in a loop or a match")
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            names[name] = Binding(statement.lineno, UNKNOWN, None, "is a function or a class")
        case ast.Import() | ast.ImportFrom():
            for alias in statement.names:
                name = alias.asname or alias.name.partition(".")[0]
                # The one import whose runtime value is known.
                known = False if alias.name == "TYPE_CHECKING" else UNKNOWN
                names[name] = Binding(statement.lineno, known, None, "is imported")
        case ast.Delete(targets=targets):
            for target in targets:
                if isinstance(target, ast.Name):
                    names.pop(target.id, None)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in names:
            # A method may mutate its object: `down_revision.append(...)`.
            if isinstance(names[name].value, list | set | dict):
                names[name] = Binding(statement.lineno, UNKNOWN, None, "is changed by a call")
        case _:
            pass


def _assign(target: ast.expr, value: ast.expr, names: Bindings) -> None:
    match target:
        case ast.Name(id=name):
            names[name] = _bind(value, names)
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            _unpack(targets, value, names)
        case ast.Subscript(
            value=ast.Call(func=ast.Name(id="globals" | "vars" | "locals")), slice=ast.Constant(value=str(name))
        ):
            names[name] = _bind(value, names)
        case ast.Subscript(value=ast.Name(id=name)) if name in names:
            names[name] = Binding(target.lineno, UNKNOWN, None, "is changed in place")
        case _:
            pass


def _bind(value: ast.expr, names: Mapping[str, Binding]) -> Binding:
    try:
        return Binding(value.lineno, evaluate(value, names), value)
    except NotLiteralError:
        return Binding(value.lineno, UNKNOWN, value, "is not a literal")
    except RecursionError:
        return Binding(value.lineno, UNKNOWN, value, "is nested too deeply")


def _unpack(targets: list[ast.expr], value: ast.expr, names: Bindings) -> None:
    elements = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    if len(elements) == len(targets) and not any(isinstance(part, ast.Starred) for part in [*elements, *targets]):
        before = dict(names)
        for target, element in zip(targets, elements, strict=True):
            if isinstance(target, ast.Name):
                names[target.id] = _bind(element, before)
        return
    for target in targets:
        inner = target.value if isinstance(target, ast.Starred) else target
        if isinstance(inner, ast.Name):
            names[inner.id] = Binding(target.lineno, UNKNOWN, None, "is unpacked from something")


def _follow_if(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], names: Bindings) -> None:
    try:
        taken = body if evaluate(test, names) else orelse
    except NotLiteralError:
        _merge(names, [follow(body, names), follow(orelse, names)], "depends on a condition")
    else:
        names.update(follow(taken, names))


def _follow_try(statement: ast.Try | ast.TryStar, names: Bindings) -> None:
    completed = follow([*statement.body, *statement.orelse], names)
    if all(_cannot_fail(part, completed) for part in statement.body):
        names.update(completed)
    else:
        partial = follow(statement.body, names)
        handled = [follow(handler.body, state) for handler in statement.handlers for state in (names, partial)]
        _merge(names, [completed, *handled], "depends on what a try meets")
    names.update(follow(statement.finalbody, names))


def _cannot_fail(statement: ast.stmt, names: Mapping[str, Binding]) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name()], value=value):
            return _bind(value, names).value is not UNKNOWN
        case ast.AnnAssign(target=ast.Name(), value=value, annotation=ast.Name(id="str")) if value is not None:
            return _bind(value, names).value is not UNKNOWN
        case _:
            return False


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


def _lose(statement: ast.stmt, names: Bindings, reason: str) -> None:
    """Make every name bound inside the statement UNKNOWN."""
    for node in _walk_scope(statement):
        name = _get_bound_name(node)
        if name is not None:
            names[name] = Binding(getattr(node, "lineno", statement.lineno), UNKNOWN, None, reason)


def _get_bound_name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            return name
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
            return name
        case ast.alias(name=name, asname=asname):
            return asname or name.partition(".")[0]
        case _:
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
    match statement:
        case ast.Expr(value=ast.NamedExpr(target=target, value=value)):
            _assign(target, value, names)
        case ast.Expr() | ast.Assign() | ast.AnnAssign() | ast.If():
            inside = statement.test if isinstance(statement, ast.If) else statement.value
            if inside is None or isinstance(inside, ast.Constant | ast.Name):
                return
            for node in _walk_scope(inside):
                if isinstance(node, ast.NamedExpr):
                    names[node.target.id] = _bind(node.value, names)
        case _:
            pass


def lose_globals(statements: Iterable[ast.stmt], names: Bindings) -> None:
    """Make names UNKNOWN that a function declares `global` and may rebind."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                for name in node.names:
                    names[name] = Binding(node.lineno, UNKNOWN, None, "is changed by a function")
