"""Command line of the audit: argument parsing, output and exit code.

Shared by `manage.py audit_migrations`, `golive-audit`, the hook of pre-commit and `python -m golive.migration_graph`.
Optional features are imported lazily: a plain audit runs on every commit and must start fast.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from golive.migration_graph.audit import AuditRequest, ReadApplied, run_audit
from golive.migration_graph.model import Kind, UnusableInputError
from golive.migration_graph.reports import FORMATS, render

SOUND, FINDINGS, UNUSABLE = 0, 1, 2
BROKEN_PIPE: Final = 141  # what a shell reports for a process killed by SIGPIPE
COMMAND: Final = "audit_migrations"
PROGRAM: Final = "golive-audit"


class Stream(Protocol):
    """Where output goes: a text file, or the `OutputWrapper` of a Django command."""

    def write(self, text: str, /) -> object: ...

    def isatty(self) -> bool: ...


@dataclass(frozen=True)
class Options:
    """Parsed arguments. `path` None means the project that the command belongs to."""

    path: str | None = None
    format: str = "text"
    history: bool | None = None
    database: Sequence[str] | None = None
    lock_file: Path | None = None
    write_lock: bool = False
    known: bool = False
    output: Path | None = None
    name: str | None = None
    packages: Sequence[str] | None = None

    @classmethod
    def choose(cls, parsed: dict[str, Any]) -> Options:
        """Pick the audit's own options out of the parsed arguments."""
        return cls(**{name: parsed[name] for name in cls.__dataclass_fields__})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        help="a folder with alembic.ini or [tool.alembic], a script or versions folder, a Django project, "
        "or any folder above exactly one of these (default: this project)",
    )
    parser.add_argument(
        "--name", metavar="SECTION", help="the section of alembic.ini that is meant, as for `alembic --name`"
    )
    parser.add_argument(
        "--with",
        action="append",
        dest="packages",
        metavar="PATH",
        help="migrations of another package, on which those of PATH may depend; may be given several times",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="the form of the report (default: text)")
    parser.add_argument(
        "--history",
        action=argparse.BooleanOptionalAction,
        help="look through git for the commit that introduced each finding (default: where there is a repository)",
    )
    parser.add_argument(
        "--database",
        action="append",
        metavar="URL",
        help="also compare with what this database says is applied; may be given several times",
    )
    parser.add_argument(
        "--lock-file",
        type=Path,
        metavar="FILE",
        help="what has been released (default: migrations.lock in PATH or beside its configuration, if it is there)",
    )
    parser.add_argument("--write-lock", action="store_true", help="add what is new to the lock file, if all is sound")
    parser.add_argument(
        "--known",
        action="store_true",
        help="with --write-lock: keep today's errors as known, so that only new ones fail",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report there, as UTF-8")


def run(
    options: Options,
    *,
    default_path: str,
    read_applied: ReadApplied,
    out: Stream,
    errors: Stream,
    is_coloured: bool | None = None,
    program: str = COMMAND,
) -> int:
    """Run the audit, write the report and return the exit code.

    `is_coloured` None: decide from `out`. `program`: how the caller was invoked, for messages.
    """
    try:
        if options.known and not options.write_lock:
            raise UnusableInputError("--known needs --write-lock: it keeps today's errors in the lock file")
        request = AuditRequest(
            with_history=options.history,
            databases=options.database or (),
            lock_file=options.lock_file,
            writes_lock=options.write_lock,
            keeps_known=options.known,
            section=options.name,
            packages=options.packages or (),
        )
        result = run_audit(default_path if options.path is None else options.path, request, read_applied)
        if options.output is None:
            coloured = can_colour(out) if is_coloured is None else is_coloured
            out.write(render(result.report, options.format, is_coloured=coloured))
        else:
            _write_file(options.output, render(result.report, options.format))
    except UnusableInputError as error:
        _write_error(errors, program, str(error))
        return UNUSABLE
    except BrokenPipeError:
        raise
    except (OSError, RecursionError, MemoryError) as error:
        # What no reader has foreseen must not end with the exit code of errors that were found.
        reason = error.strerror if isinstance(error, OSError) else "something is nested too deeply, or too large"
        _write_error(errors, program, f"the audit cannot go on: {reason or type(error).__name__}")
        return UNUSABLE
    if result.refusal is not None:
        _write_error(errors, program, result.refusal)
    return FINDINGS if result.report.has_new_errors or result.refusal is not None else SOUND


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UnusableInputError(f"--output {path}: {error.strerror or error}") from None


def can_colour(stream: Stream) -> bool:
    """Whether the stream is a colour terminal and colours are not disabled. https://no-color.org"""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write_error(errors: Stream, program: str, text: str) -> None:
    from golive.migration_graph.reports.words import make_visible

    errors.write(f"{program}: {make_visible(text)}\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, as for any other unusable input."""
        self.exit(UNUSABLE, f"{self.prog}: {message}; --help lists the arguments\n")


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Audit without Django, for other projects. PATH defaults to the current folder."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An unencodable character must not abort the report.
            stream.reconfigure(errors="backslashreplace")
    parser = _Parser(prog=program, description="Audit a folder of migrations. Nothing in it is imported or run.")
    add_arguments(parser)
    options = Options.choose(vars(parser.parse_args(arguments)))
    try:
        code = run(
            options,
            default_path=".",
            read_applied=_refuse_database,
            out=sys.stdout,
            errors=sys.stderr,
            program=program,
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does. Redirect stdout, or Python complains again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _refuse_database(url: str, kind: Kind) -> NoReturn:
    raise UnusableInputError("--database works with `manage.py audit_migrations`, where the drivers are")
