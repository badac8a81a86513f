"""The output formats of a report. Each module has `render(report) -> str` and is imported only when used.

Whatever comes from the audited files is untrusted: each format escapes it for its context.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from golive.migration_graph.model import Report

# Format -> the module that renders it.
_MODULES: Final = {
    "text": "plain_text",
    "json": "json_object",
    "markdown": "markdown",
    "mermaid": "mermaid",
    "dot": "graphviz",
    "svg": "picture",
    "html": "page",
    "sarif": "sarif",
    "github": "annotations",
}
FORMATS: Final = tuple(_MODULES)


def render(report: Report, format_: str, *, is_coloured: bool = False) -> str:
    """Render the report as text ending in a newline. `is_coloured` applies only to "text". Raises KeyError."""
    module = import_module(f"{__name__}.{_MODULES[format_]}")
    text: str = module.render(report, is_coloured=is_coloured) if format_ == "text" else module.render(report)
    return text
