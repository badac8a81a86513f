"""Parse the bytes of a Python file into a syntax tree, or into the finding that says why that failed."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from typing import Final

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.model import Finding

# Larger files are hardly migrations, and reading and parsing them would stall the audit.
MAX_BYTES: Final = 5_000_000
_CONFLICT = re.compile(rb"^(?:<{7}|>{7}|\|{7}) ?.*$|^={7}$", re.MULTILINE)
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def parse(key: str, content: bytes) -> ast.Module | Finding:
    """The syntax tree of a file that compiles, else an MG105 finding. Nothing is run."""
    if len(content) > MAX_BYTES:
        return report_too_large(key, len(content))
    if content.startswith(_UTF16_BOMS):
        return _report(key, 1, "is encoded in UTF-16, which Python cannot read", "Save the file as UTF-8.")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        return _report(key, line, "contains a NUL byte", "The file is damaged or not text: restore it from git.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
            # Some errors are found only by the compiler ("'return' outside function").
            compile(content, "<migration>", "exec", dont_inherit=True, optimize=0)
    except SyntaxError as error:
        return _report_syntax(key, content, error)
    except (ValueError, LookupError, RecursionError, MemoryError) as error:
        text = str(error) or type(error).__name__
        return _report(key, 1, f"cannot be parsed: {text}", "Python could not load this file either: repair it.")
    return tree


def can_compile(source: bytes) -> bool:
    """Whether the source compiles. Nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<migration>", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def report_too_large(key: str, size: int) -> Finding:
    """The finding for a file over MAX_BYTES, which is not read."""
    return _report(
        key,
        1,
        f"is {size:,} bytes long; files over {MAX_BYTES:,} bytes are not read",
        "Keep data out of migrations: load it from a file of its own.",
    )


def report_unreadable(key: str, error: OSError) -> Finding:
    """The finding for a file or folder that the operating system refuses to read."""
    reason = error.strerror or str(error)
    return _report(key, None, f"cannot be read: {reason}", "Check that it exists and who may read it.")


def _report_syntax(key: str, content: bytes, error: SyntaxError) -> Finding:
    conflict = _CONFLICT.search(content)
    if conflict:
        return _report(
            key,
            content.count(b"\n", 0, conflict.start()) + 1,
            "has unresolved conflict markers of a merge",
            "Decide which side is right, and remove the lines with <<<<<<<, ======= and >>>>>>>.",
        )
    line = error.lineno if error.lineno and error.lineno > 0 else 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    hint = f"Repair the syntax, or audit with the Python that the project runs on (this was Python {version})."
    return _report(key, line, f"is not valid Python: {error.msg}", hint)


def _report(key: str, line: int | None, what: str, hint: str) -> Finding:
    return make_finding("MG105", f"{key} {what}.", hint, file=key, line=line)
