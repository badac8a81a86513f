"""What Python 3.9 and 3.10 lack: the audit runs on whatever Python a project has."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 11):
    from enum import StrEnum
else:

    class StrEnum(str, Enum):
        """Members are strings, in formatted text too."""

        __str__ = str.__str__
        __format__ = str.__format__


__all__ = ["StrEnum", "load_toml"]


def load_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError or RecursionError, and ModuleNotFoundError where an old Python has no `tomli`."""
    # Imported lazily: a plain audit must start fast.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    return tomllib.loads(text)
