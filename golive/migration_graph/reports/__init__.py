"""The forms in which a report is written. Each module has `render(report) -> str`, and is imported only when asked for.

Whatever comes from the audited files is untrusted: each form escapes it for where it stands.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from golive.migration_graph.model import Report

# The name of the form -> the module that writes it.
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


def render(report: Report, form: str, *, is_coloured: bool = False) -> str:
    """The report as text that ends in a newline. `is_coloured` concerns "text" alone. Raises KeyError."""
    module = import_module(f"{__name__}.{_MODULES[form]}")
    text: str = module.render(report, is_coloured=is_coloured) if form == "text" else module.render(report)
    return text
