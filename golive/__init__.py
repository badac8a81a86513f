"""Valhalla go-live. For code outside a request: `is_execution_allowed`, `require_execution`, `execution_permit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golive.domain.errors import ExecutionDenied
    from golive.execution import execution_permit, is_execution_allowed, require_execution

__all__ = ["ExecutionDenied", "execution_permit", "is_execution_allowed", "require_execution"]


def __getattr__(name: str) -> Any:
    # Lazy: the package is imported before Django is set up, and by programs without Django.
    if name == "ExecutionDenied":
        from golive.domain.errors import ExecutionDenied

        return ExecutionDenied
    if name in __all__:
        from golive import execution

        return getattr(execution, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
