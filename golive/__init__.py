"""Valhalla go-live. For code outside a request: `is_execution_allowed`, `require_execution`, `execution_permit`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golive.domain.errors import ExecutionDenied
    from golive.execution import execution_permit, is_execution_allowed, require_execution

__all__ = ["ExecutionDenied", "execution_permit", "is_execution_allowed", "require_execution"]


def __getattr__(name: str) -> Any:
    # Lazy: the package is imported before Django is set up, and by programs without Django.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "ExecutionDenied":
        _require_python()
        from golive.domain.errors import ExecutionDenied

        return ExecutionDenied
    require_app()
    from golive import execution

    return getattr(execution, name)


def require_app() -> None:
    """Raise ImportError if the app cannot run here: the package alone brings the audit and the guard."""
    _require_python()
    from importlib.util import find_spec

    missing = [name for name in ("django", "psycopg") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"golive, the app, needs {' and '.join(missing)}: pip install 'valhalla-go-live[django]'. "
            "Programs without Django ask the gate with golive.guard."
        )


def _require_python() -> None:
    if sys.version_info < (3, 11):
        raise ImportError("golive, the app, needs Python 3.11 or newer; the audit and golive.guard run on this one")
