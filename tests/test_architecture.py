"""Rules about the code itself that no linter here knows.

Who imports whom is held by import-linter (pyproject.toml).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT

PACKAGES = ("golive", "valhalla")
# The one room that writes the rows and the record, and the migrations, which make and seed them.
# `identity.tokens` and `identity.throttle` write tables of their own, which are neither.
WRITERS = ("golive/controls/", "golive/migrations/", "golive/identity/throttle.py", "golive/identity/tokens.py")
MODELS = ("GoLiveState", "SystemMetadata", "Event")
TABLES = ("go_live_state", "system_metadata", "golive_event")
MAX_LINES = 400


def find_modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- only the controls write -------------------------------------------------------------------------------------------

# Methods of models, managers and querysets that write.
WRITING = {
    f"{prefix}{name}"
    for name in (
        *("save", "save_base", "delete", "create", "update"),
        *("get_or_create", "update_or_create", "bulk_create", "bulk_update"),
    )
    for prefix in ("", "a")
} | {"_raw_delete", "_update", "_insert", "save_model", "delete_model", "delete_queryset", "save_form", "save_related"}
# What takes a model from another module, or gets at one without its name.
REACHING = {*MODELS, "get_model", "get_models"}
_TABLE = rf"(?:\w+\.)?[\"'`]?(?:{'|'.join(TABLES)}|\{{\}})[\"'`]?"
WRITING_SQL = re.compile(
    rf"\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO|REPLACE\s+INTO"
    rf"|COPY|(?:DROP|ALTER|CREATE)\s+TABLE(?:\s+IF\s+(?:NOT\s+)?EXISTS)?)\s+{_TABLE}",
    re.IGNORECASE,
)


def find_writes(source: str) -> list[str]:
    """What in a module writes, or could write, one of the rows or the record: `line: what`.

    Strict on purpose: in a module that can reach one of the models, no method of a writing name may be called, on
    whatever it is called. What is a set or a dictionary today may be a queryset tomorrow.
    """
    tree = ast.parse(source)
    found = [f"{line}: SQL {text!r}" for line, text in find_texts(tree) if WRITING_SQL.search(text)]
    if can_reach_models(tree):
        found += [
            f"{node.lineno}: .{node.func.attr}()"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITING
        ]
    return found


def find_texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each text of a module with its line; an f-string with {} for what is filled in. Docstrings are left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(value) for value in node.values}
            parts = (str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.lineno, node.value


def can_reach_models(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in REACHING:
            return True
        if isinstance(node, ast.Import) and any(alias.name == "golive.models" for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("golive.domain"):
            names = {alias.name for alias in node.names}
            if node.module == "golive.models" or (node.module == "golive" and "models" in names) or names & REACHING:
                return True
    return False


@pytest.mark.parametrize(
    "path", [path for path in find_modules() if not relative(path).startswith(WRITERS)], ids=relative
)
def test_module__that_is_not_the_writer__writes_neither_rows_nor_record(path: Path) -> None:
    assert find_writes(path.read_text()) == []


def test_writer__is_found_writing() -> None:
    """Otherwise the search above would find nothing anywhere."""
    found = " ".join(find_writes((ROOT / "golive" / "controls" / "event_writer.py").read_text()))

    assert ".update()" in found
    assert ".save()" in found


@pytest.mark.parametrize(
    "source",
    [
        "from golive.models import GoLiveState\nGoLiveState.objects.filter(id=1).update(go_live_enabled=True)",
        "from golive.models import GoLiveState\nrow = GoLiveState.objects.get()\nrow.save()",
        "from golive import models\nmodels.Event.objects.create(sequence=1)",
        "import golive.models as m\nm.Event.objects.bulk_create([])",
        "from golive.models import SystemMetadata as S\nasync def f(): await S.objects.aupdate_or_create(id=1)",
        "from golive.controls.apply import GoLiveState\nGoLiveState().save()",
        "from golive import controls\ncontrols.GoLiveState().save()",
        "from django.apps import apps\napps.get_model('golive', 'Event')._default_manager.all().delete()",
        "cursor.execute('UPDATE go_live_state SET go_live_enabled = true')",
        "cursor.execute('update  only public.go_live_state set go_live_enabled = true')",
        'cursor.execute("""\n  DELETE FROM "golive_event" """)',
        "cursor.execute('INSERT INTO system_metadata (id) VALUES (1)')",
        "cursor.execute(f'UPDATE {table} SET revision = 1')",
        "cursor.execute('TRUNCATE golive_event')",
    ],
)
def test_search__module_that_writes__is_found(source: str) -> None:
    assert find_writes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Refuses UPDATE go_live_state in the database itself."""',
        "from golive.models import Event\nevents = Event.objects.order_by('-sequence').first()",
        "values = {}\nvalues.update(reason='')",
        "cursor.execute('SELECT revision FROM go_live_state WHERE id = 1 FOR UPDATE')",
        "cursor.execute(f'SELECT {columns} FROM {table} FOR UPDATE')",
    ],
)
def test_search__module_that_only_reads__is_not_found(source: str) -> None:
    assert find_writes(source) == []


def test_admin__of_the_models__registers_no_form_that_saves() -> None:
    """Django's ModelAdmin would write the rows itself; what it may do is asked of its permissions."""
    from django.contrib import admin
    from django.contrib.auth.models import AnonymousUser
    from django.http import HttpRequest

    from golive import models

    request = HttpRequest()
    request.user = AnonymousUser()
    for name in MODELS:
        options = admin.site._registry[getattr(models, name)]
        assert not options.has_add_permission(request)
        assert not options.has_change_permission(request)
        assert not options.has_delete_permission(request)


# -- the domain is pure ------------------------------------------------------------------------------------------------


def find_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted((ROOT / "golive" / "domain").glob("*.py")), ids=relative)
def test_domain__each_module__imports_the_standard_library_and_itself_only(path: Path) -> None:
    foreign = {
        name
        for name in find_imports(ast.parse(path.read_text()))
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("golive.domain.")
    }

    assert not foreign


@pytest.mark.parametrize("path", sorted((ROOT / "golive" / "domain").glob("*.py")), ids=relative)
def test_domain__each_module__looks_at_no_clock_and_draws_no_lots(path: Path) -> None:
    """The time is an argument, so that every rule can be tested at any moment."""
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}

    assert not calls & {"datetime.now", "datetime.utcnow", "time.time", "time.monotonic", "open", "print"}
    assert not {name.split(".")[0] for name in find_imports(ast.parse(path.read_text()))} & {
        *("os", "random", "secrets", "socket", "subprocess", "time", "uuid")
    }


# -- the tree ----------------------------------------------------------------------------------------------------------


def find_files() -> list[Path]:
    """What git tracks or would add: the tree as it will be committed."""
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in sorted(set(names)) if name and (ROOT / name).is_file()]


def test_files__of_the_product__are_short_enough_to_read() -> None:
    kinds = (".py", ".html", ".js")
    lengths = {
        relative(path): len(path.read_text().splitlines())
        for path in find_files()
        if relative(path).startswith(PACKAGES) and path.suffix in kinds
    }

    assert lengths
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})\b"),
    "a key of Render": re.compile(r"\brnd_[A-Za-z0-9]{20,}\b"),
    "a token of Slack or Stripe": re.compile(r"\b(?:xox[baprs]-[A-Za-z0-9-]{10,}|[sr]k_live_[A-Za-z0-9]{16,})\b"),
    "a token of this project": re.compile(r"\bvgl_[A-Za-z0-9]{6,}_[A-Za-z0-9]{16,}\b"),
    "a web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    "the address of a real database": re.compile(r"postgres(?:ql)?://[^\s:/@{}]+:[^\s@{}]+@[^\s/]*(?:render\.com|aws)"),
    "a key for SECRET_KEY": re.compile(r"SECRET_KEY[\"']?\s*[=:]\s*[\"']?(?=[^\s\"']*[0-9])[A-Za-z0-9+/_-]{40,}"),
}
# Made for the tests, protects nothing, and says so itself.
HARMLESS = re.compile(r"only-for-tests-")


def find_secrets(text: str) -> list[str]:
    return [
        name
        for name, pattern in SECRETS.items()
        if any(not HARMLESS.search(match.group()) for match in pattern.finditer(text))
    ]


def test_files__all__hold_nothing_that_looks_like_a_secret() -> None:
    found = {
        relative(path): secrets
        for path in find_files()
        if path != Path(__file__) and (secrets := find_secrets(path.read_bytes().decode(errors="replace")))
    }

    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "AKIA" + "ABCDEFGHIJ234567",
        "ghp_" + "a1" * 18,
        "vgl_abc12345_" + "a1B2" * 8,
        "postgresql://valhalla:word@dpg-abc-a.oregon-postgres.render.com/valhalla",
        'SECRET_KEY = "' + "aB3/" * 11 + '"',
        "SECRET_KEY=" + "aB3+" * 11,
    ],
)
def test_secrets__each_kind__is_found(text: str) -> None:
    assert find_secrets(text)


def test_files__of_a_developer__are_not_committed() -> None:
    names = {relative(path) for path in find_files()}

    assert not {name for name in names if name.endswith((".sqlite3", ".pem", ".key", ".pyc")) or "/.env" in f"/{name}"}
