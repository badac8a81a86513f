"""Trace the statements of a module or class body to the final binding of each name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final, Optional

from golive.migration_graph.readers.literals import UNKNOWN, Binding, Bindings, NotLiteralError, evaluate

STAR = "*"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
# Of a `try` with more, every name that it binds is UNKNOWN.
_MAX_HANDLERS: Final = 20
_LOOP, _TRIED = "is bound in a loop or a match", "depends on what a try meets"

# Name -> its new binding; None: it is unbound.
_Changes = dict[str, Optional[Binding]]


class _Names(dict[str, Binding]):
    """Bindings that remember what they replace, so that trying a branch costs no more than the branch is long."""

    def __init__(self, outer: Mapping[str, Binding]) -> None:
        super().__init__(outer)
        self._replaced: list[_Changes] = []

    def bind(self, name: str, binding: Binding | None) -> None:
        if self._replaced:
            self._replaced[-1].setdefault(name, self.get(name))
        self._set(name, binding)

    def _set(self, name: str, binding: Binding | None) -> None:
        if binding is None:
            self.pop(name, None)
        else:
            self[name] = binding

    def begin(self) -> _Changes:
        """Begin a trial, which `undo` ends. Returns what it replaces, as it goes on."""
        self._replaced.append({})
        return self._replaced[-1]

    def get_changes(self) -> _Changes:
        """What the trial has bound so far."""
        return {name: self.get(name) for name in self._replaced[-1]}

    def undo(self) -> None:
        for name, binding in self._replaced.pop().items():
            self._set(name, binding)

    def attempt(self, statements: Iterable[ast.stmt]) -> _Changes:
        """What the statements would bind."""
        self.begin()
        _follow_all(statements, self)
        changes = self.get_changes()
        self.undo()
        return changes


def follow(statements: Iterable[ast.stmt], outer: Mapping[str, Binding] | None = None) -> Bindings:
    """The bindings after these statements. `outer` holds the names of the enclosing scope.

    A star import binds `*`. A name bound in a conditional branch is UNKNOWN unless all branches agree.
    """
    names = _Names(outer or {})
    _follow_all(statements, names)
    return names


def _follow_all(statements: Iterable[ast.stmt], names: _Names) -> None:
    for statement in statements:
        _bind_walrus(statement, names)
        follower = _FOLLOWERS.get(type(statement))
        if follower is not None:
            follower(statement, names)


def _follow_assignment(statement: ast.Assign, names: _Names) -> None:
    for target in statement.targets:
        _assign(target, statement.value, names)


def _follow_annotated_assignment(statement: ast.AnnAssign, names: _Names) -> None:
    if statement.value is not None:
        _assign(statement.target, statement.value, names)


def _follow_augmented_assignment(statement: ast.AugAssign, names: _Names) -> None:
    target = statement.target
    if isinstance(target, ast.Name):
        previous = ast.copy_location(ast.Name(id=target.id, ctx=ast.Load()), target)
        value = ast.BinOp(left=previous, op=statement.op, right=statement.value)
        _assign(target, ast.copy_location(value, statement), names)


def _follow_with(statement: ast.With | ast.AsyncWith, names: _Names) -> None:
    _follow_all(statement.body, names)


def _follow_definition(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, names: _Names) -> None:
    names.bind(statement.name, Binding(statement.lineno, UNKNOWN, None, "is a function or a class"))


def _follow_import(statement: ast.Import | ast.ImportFrom, names: _Names) -> None:
    for alias in statement.names:
        name = alias.asname or alias.name.partition(".")[0]
        # The one import whose runtime value is known.
        known = False if alias.name == "TYPE_CHECKING" else UNKNOWN
        names.bind(name, Binding(statement.lineno, known, None, "is imported"))


def _follow_deletion(statement: ast.Delete, names: _Names) -> None:
    for target in statement.targets:
        if isinstance(target, ast.Name):
            names.bind(target.id, None)


def _follow_expression(statement: ast.Expr, names: _Names) -> None:
    """A method may mutate its object: `down_revision.append(...)`."""
    call = statement.value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        name = call.func.value.id
        if name in names and isinstance(names[name].value, (list, set, dict)):
            names.bind(name, Binding(statement.lineno, UNKNOWN, None, "is changed by a call"))


def _assign(target: ast.expr, value: ast.expr, names: _Names) -> None:
    if isinstance(target, ast.Name):
        names.bind(target.id, _bind(value, names))
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(target.elts, value, names)
    elif isinstance(target, ast.Subscript):
        _assign_item(target, value, names)


def _assign_item(target: ast.Subscript, value: ast.expr, names: _Names) -> None:
    owner, item = target.value, target.slice
    if isinstance(owner, ast.Name) and owner.id in names:
        names.bind(owner.id, Binding(target.lineno, UNKNOWN, None, "is changed in place"))
    elif _is_namespace(owner) and isinstance(item, ast.Constant) and isinstance(item.value, str):
        names.bind(item.value, _bind(value, names))


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


def _unpack(targets: list[ast.expr], value: ast.expr, names: _Names) -> None:
    elements = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
    if len(elements) == len(targets) and not any(isinstance(part, ast.Starred) for part in [*elements, *targets]):
        bindings = [_bind(element, names) for element in elements]
        for target, binding in zip(targets, bindings):
            if isinstance(target, ast.Name):
                names.bind(target.id, binding)
        return
    for target in targets:
        inner = target.value if isinstance(target, ast.Starred) else target
        if isinstance(inner, ast.Name):
            names.bind(inner.id, Binding(target.lineno, UNKNOWN, None, "is unpacked from something"))


def _follow_if(statement: ast.If, names: _Names) -> None:
    """Follow all branches that may be taken, up to the first one that is certain."""
    branches: list[_Changes] = []
    orelse: list[ast.stmt] = [statement]
    is_certain = False
    # A loop, since each `elif` is nested in the one before.
    while not is_certain and len(orelse) == 1 and isinstance(orelse[0], ast.If):
        part = orelse[0]
        _bind_walrus(part, names)
        orelse = part.orelse
        try:
            is_certain = bool(evaluate(part.test, names))
        except NotLiteralError:
            branches.append(names.attempt(part.body))
        else:
            branches += [names.attempt(part.body)] if is_certain else []
    if not is_certain:
        branches.append(names.attempt(orelse))
    _merge(names, branches, "depends on a condition")


def _follow_try(statement: ast.Try, names: _Names) -> None:
    if len(statement.handlers) > _MAX_HANDLERS:
        _lose(statement, names, _TRIED)
        return
    before = names.begin()
    _follow_all(statement.body, names)
    is_certain = all(_cannot_fail(part, names) for part in statement.body)
    completed = {**names.get_changes(), **names.attempt(statement.orelse)}
    # A handler begins after any part of the body: what that binds to something new is UNKNOWN there.
    for name, bound in names.get_changes().items():
        previous = before[name]
        if previous is None or not _is_same(previous, bound):
            names.bind(name, Binding(bound.line if bound else statement.lineno, UNKNOWN, None, _TRIED))
    handled = [{**names.get_changes(), **names.attempt(handler.body)} for handler in statement.handlers]
    names.undo()
    _merge(names, [completed] if is_certain else [completed, *handled], _TRIED)
    _follow_all(statement.finalbody, names)


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


def _merge(names: _Names, branches: list[_Changes], reason: str) -> None:
    """Bind what all branches agree on; the rest becomes UNKNOWN."""
    by_name: dict[str, list[Binding | None]] = {}
    for branch in branches:
        for name, binding in branch.items():
            by_name.setdefault(name, []).append(binding)
    for name, candidates in sorted(by_name.items(), key=itemgetter(0)):
        previous = names.get(name)
        if len(candidates) < len(branches):
            candidates.append(previous)
        first, *others = candidates
        if not others or (first is not None and all(_is_same(first, other) for other in others)):
            names.bind(name, first)
        elif any(other is not previous for other in candidates):
            changed = next((other for other in candidates if other is not None and other is not previous), previous)
            names.bind(name, Binding(changed.line if changed else 1, UNKNOWN, None, reason))


def _is_same(first: Binding, other: Binding | None) -> bool:
    return other is not None and first.value is not UNKNOWN is not other.value and first.value == other.value


def _lose(statement: ast.stmt, names: _Names, reason: str = _LOOP) -> None:
    """Make every name UNKNOWN that is bound inside the statement."""
    for node in _walk_scope(statement):
        name = _get_bound_name(node)
        if name is not None:
            names.bind(name, Binding(getattr(node, "lineno", statement.lineno), UNKNOWN, None, reason))


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


def _bind_walrus(statement: ast.stmt, names: _Names) -> None:
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
            names.bind(node.target.id, _bind(node.value, names))


def lose_globals(statements: Iterable[ast.stmt], names: Bindings) -> None:
    """Make names UNKNOWN that a function declares `global` and may rebind."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                for name in node.names:
                    names[name] = Binding(node.lineno, UNKNOWN, None, "is changed by a function")


_FOLLOWERS: Final[Mapping[type[ast.stmt], Callable[[Any, _Names], None]]] = {
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
