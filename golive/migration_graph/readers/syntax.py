"""Parse the bytes of a Python file into a syntax tree, or into the finding that says why that failed."""

from __future__ import annotations

import ast
import codecs
import re
import sys
import warnings
from itertools import islice
from typing import Final

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.model import Finding

# Larger files are hardly migrations, and reading and parsing them would stall the audit.
MAX_BYTES: Final = 5_000_000
# Python needs about 3 s and 500 MB to compile this much code; data in long strings counts for little.
MAX_WORDS: Final = 500_000
# For these it needs time that grows with the square of their number: about 1 s for as many.
MAX_HOLES: Final = 20_000
MAX_SCOPES: Final = 10_000
MAX_KEYWORDS: Final = 5_000
# No file of this size comes near them.
_SMALL: Final = 20_000
_WORD: Final = re.compile(rb"\w+|[^\w\s]")
_F_STRING: Final = re.compile(rb"""\b(?:[fF][rR]?|[rR][fF])['"]""")
_ENCODING: Final = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
# Their decoders are slow in the same way.
_SLOW_ENCODINGS: Final = ("idna", "punycode")
_SCOPES: Final = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
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
    is_large = len(content) > _SMALL
    if is_large and (what := _find_excess(content)):
        return _report_excess(key, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
            if is_large and (what := _find_excess_in_tree(tree)):
                return _report_excess(key, what)
            # Some errors are found only by the compiler ("'return' outside function").
            compile(content, "<migration>", "exec", dont_inherit=True, optimize=0)
    except SyntaxError as error:
        return _report_syntax(key, content, error)
    except (ValueError, LookupError, RecursionError, MemoryError) as error:
        text = str(error) or type(error).__name__
        return _report(key, 1, f"cannot be parsed: {text}", "Python could not load this file either: repair it.")
    return tree


def _find_excess(content: bytes) -> str:
    """What would take too long to parse; empty: nothing."""
    encodings = filter(None, map(_ENCODING.match, content.split(b"\n", 2)[:2]))
    if any(_is_slow(encoding[1].decode()) for encoding in encodings):
        return "text in an encoding that is not meant for any"
    if content.count(b"{") > MAX_HOLES and _F_STRING.search(content):
        return f"f-strings and more than {MAX_HOLES:,} braces"
    words = sum(1 for _ in islice(_WORD.finditer(content), MAX_WORDS + 1))
    return f"more than {MAX_WORDS:,} words and signs" if words > MAX_WORDS else ""


def _is_slow(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name in _SLOW_ENCODINGS
    except LookupError:
        return False


def _find_excess_in_tree(tree: ast.Module) -> str:
    """What would take too long to compile; empty: nothing."""
    scopes = 0
    for node in ast.walk(tree):
        scopes += isinstance(node, _SCOPES)
        if isinstance(node, (ast.Call, ast.ClassDef)) and len(node.keywords) > MAX_KEYWORDS:
            return f"a call with more than {MAX_KEYWORDS:,} keywords"
    return f"more than {MAX_SCOPES:,} functions, classes and comprehensions" if scopes > MAX_SCOPES else ""


def can_compile(source: bytes) -> bool:
    """Whether the source compiles. Nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<migration>", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def list_targets(statement: ast.stmt) -> list[ast.expr]:
    """What a statement assigns to; empty for one that is no assignment."""
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def report_too_large(key: str, size: int) -> Finding:
    """The finding for a file over MAX_BYTES, which is not read."""
    return _report(
        key,
        1,
        f"is {size:,} bytes long; files over {MAX_BYTES:,} bytes are not read",
        "Keep data out of migrations: load it from a file of its own.",
    )


def _report_excess(key: str, what: str) -> Finding:
    return _report(key, 1, f"holds {what}, and is not read", "Keep data out of migrations: load it from a file.")


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
