"""Evaluate expressions made of literals and known names. Nothing is run.

A value is a str, None, bool, int, float, or a tuple, list, set or dict of these. Whatever would need execution is
UNKNOWN, and so is everything derived from it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

COLLECTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "tuple": tuple,
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
}
# A value that is put together out of names could double with each statement. No name and no list comes near these.
MAX_ELEMENTS: Final = 500
MAX_CHARACTERS: Final = 1_000
MAX_NUMBER: Final = 1 << 64
# A collection that a name brings into another one: a pair such as ("app", "0001_initial").
_MAX_INNER: Final = 10


class NotLiteralError(Exception):
    """The value is known only by running the file."""


@dataclass(frozen=True)
class Binding:
    """The last binding of a name: its line, value (or UNKNOWN and the reason) and expression."""

    line: int
    value: object
    expression: ast.expr | None = None
    reason: str = ""


UNKNOWN: Final = object()
_COLLECTIONS: Final = (tuple, list, set, frozenset, dict)
Bindings = dict[str, Binding]


def evaluate(expression: ast.expr, names: Mapping[str, Binding]) -> Any:
    """The value of an expression. Raises NotLiteralError."""
    evaluator = _EVALUATORS.get(type(expression))
    if evaluator is None:
        raise NotLiteralError
    return evaluator(expression, names)


def _evaluate_constant(node: ast.Constant, names: Mapping[str, Binding]) -> Any:
    if node.value is None or isinstance(node.value, (str, float)):
        return node.value
    if isinstance(node.value, int):
        return _bound_number(node.value)
    raise NotLiteralError


def _bound_number(value: int) -> int:
    # Python refuses to print larger numbers; nothing here is one.
    if abs(value) > MAX_NUMBER:
        raise NotLiteralError
    return value


def _evaluate_name(node: ast.Name, names: Mapping[str, Binding]) -> Any:
    if node.id in names:
        value = names[node.id].value
        if value is not UNKNOWN:
            return value
    elif node.id == "TYPE_CHECKING":
        return False
    raise NotLiteralError


def _evaluate_attribute(node: ast.Attribute, names: Mapping[str, Binding]) -> Any:
    if node.attr == "TYPE_CHECKING":
        return False
    raise NotLiteralError


def _evaluate_elements(elements: Iterable[ast.expr], names: Mapping[str, Binding]) -> list[Any]:
    values: list[Any] = []
    for element in elements:
        if isinstance(element, ast.Starred):
            added = _as_sequence(evaluate(element.value, names))
            if len(values) + len(added) > MAX_ELEMENTS:
                raise NotLiteralError
            values.extend(map(_check_inner, added))
        else:
            values.append(_evaluate_element(element, names))
    return values


def _evaluate_element(element: ast.expr, names: Mapping[str, Binding]) -> Any:
    value = evaluate(element, names)
    # What is written out is no larger than the file.
    return value if isinstance(element, (ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict)) else _check_inner(value)


def _check_inner(value: Any) -> Any:
    """An element that a name brings along: not much, since its value may be made of names again."""
    if not isinstance(value, _COLLECTIONS):
        return value
    if len(value) > _MAX_INNER or any(isinstance(each, _COLLECTIONS) for each in value):
        raise NotLiteralError
    return value


def _as_sequence(value: Any) -> Sequence[Any]:
    if isinstance(value, (str, tuple, list, set, frozenset, dict)):
        return list(value)
    raise NotLiteralError


def _evaluate_tuple(node: ast.Tuple, names: Mapping[str, Binding]) -> Any:
    return tuple(_evaluate_elements(node.elts, names))


def _evaluate_list(node: ast.List, names: Mapping[str, Binding]) -> Any:
    return _evaluate_elements(node.elts, names)


def _evaluate_set(node: ast.Set, names: Mapping[str, Binding]) -> Any:
    # A dict preserves the written order, which is deterministic; Alembic does not care about it.
    return _attempt(lambda: list(dict.fromkeys(_evaluate_elements(node.elts, names))))


def _evaluate_dict(node: ast.Dict, names: Mapping[str, Binding]) -> Any:
    pairs = zip(node.keys, node.values)
    keys = [(None if key is None else evaluate(key, names), _evaluate_element(value, names)) for key, value in pairs]
    if None in node.keys:
        raise NotLiteralError
    return _attempt(lambda: dict(keys))


def _evaluate_f_string(node: ast.JoinedStr, names: Mapping[str, Binding]) -> Any:
    parts = []
    size = 0
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            if part.format_spec is not None or part.conversion not in (-1, ord("s")):
                raise NotLiteralError
            value = evaluate(part.value, names)
            if value is not None and not isinstance(value, (str, int)):
                raise NotLiteralError
            parts.append(str(value))
        else:
            parts.append(evaluate(part, names))
        size += len(parts[-1])
        if size > MAX_CHARACTERS:
            raise NotLiteralError
    return "".join(parts)


def _evaluate_operator(node: ast.BinOp, names: Mapping[str, Binding]) -> Any:
    left, right = evaluate(node.left, names), evaluate(node.right, names)
    if isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, (str, tuple, list, int)):
        return _add(left, right)
    if isinstance(node.op, ast.Mod) and isinstance(left, str) and _is_plain_format(left):
        arguments = right if isinstance(right, tuple) else (right,)
        # A number has at most 20 digits.
        if len(left) + sum(len(each) if isinstance(each, str) else 20 for each in arguments) <= MAX_CHARACTERS:
            return _attempt(lambda: left % right)
    raise NotLiteralError


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, int):
        return _bound_number(left + right)
    if len(left) + len(right) > (MAX_CHARACTERS if isinstance(left, str) else MAX_ELEMENTS):
        raise NotLiteralError
    if not isinstance(left, str):
        for each in (*left, *right):
            _check_inner(each)
    return left + right


def _is_plain_format(text: str) -> bool:
    """Whether the format uses only `%s` and `%d`: a width could request any amount of memory."""
    rest = text.replace("%s", "").replace("%d", "").replace("%%", "")
    return "%" not in rest


def _evaluate_subscript(node: ast.Subscript, names: Mapping[str, Binding]) -> Any:
    value, index = evaluate(node.value, names), evaluate(node.slice, names)
    if isinstance(value, (str, tuple, list, dict)):
        return _attempt(lambda: value[index])
    raise NotLiteralError


def _evaluate_choice(node: ast.IfExp, names: Mapping[str, Binding]) -> Any:
    return evaluate(node.body if evaluate(node.test, names) else node.orelse, names)


def _evaluate_connective(node: ast.BoolOp, names: Mapping[str, Binding]) -> Any:
    stops = isinstance(node.op, ast.Or)
    value = None
    for part in node.values:
        value = evaluate(part, names)
        if bool(value) is stops:
            break
    return value


def _evaluate_sign(node: ast.UnaryOp, names: Mapping[str, Binding]) -> Any:
    value = evaluate(node.operand, names)
    if isinstance(node.op, ast.Not):
        return not value
    if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
        return -value
    raise NotLiteralError


def _evaluate_call(node: ast.Call, names: Mapping[str, Binding]) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in names or node.keywords or len(node.args) > 1:
        raise NotLiteralError
    arguments = _evaluate_elements(node.args, names)
    if name == "str" and arguments and isinstance(arguments[0], str):
        return arguments[0]
    if name in COLLECTIONS and not (arguments and name == "dict"):
        make = COLLECTIONS[name]
        return _attempt(lambda: make(_as_sequence(arguments[0]) if arguments else ()))
    raise NotLiteralError


def _attempt(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise NotLiteralError from error


_EVALUATORS: Final[Mapping[type[ast.expr], Callable[[Any, Mapping[str, Binding]], Any]]] = {
    ast.Constant: _evaluate_constant,
    ast.Name: _evaluate_name,
    ast.Attribute: _evaluate_attribute,
    ast.Tuple: _evaluate_tuple,
    ast.List: _evaluate_list,
    ast.Set: _evaluate_set,
    ast.Dict: _evaluate_dict,
    ast.JoinedStr: _evaluate_f_string,
    ast.BinOp: _evaluate_operator,
    ast.Subscript: _evaluate_subscript,
    ast.IfExp: _evaluate_choice,
    ast.BoolOp: _evaluate_connective,
    ast.UnaryOp: _evaluate_sign,
    ast.Call: _evaluate_call,
}
