"""A real pgbouncer in front of a test server, run as the server is (it refuses to run as root)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import USER, PostgresServer, _Account
from tests.support.server import find_free_port

START_SECONDS = 30.0


class PoolerError(RuntimeError):
    """pgbouncer cannot be had or does not start; the message says why."""


@contextmanager
def pgbouncer(program: str, server: PostgresServer, mode: str) -> Iterator[int]:
    """A pooler in that mode for all databases of the server; its port on 127.0.0.1. Raises PoolerError.

    "in a ring" after the mode: idle servers are used in turn, and not the last one first.
    """
    account = _Account.choose()
    folder = Path(tempfile.mkdtemp(prefix="valhalla-pgbouncer-", dir="/tmp"))
    port = find_free_port()
    settings = folder / "pgbouncer.ini"
    settings.touch(0o600)
    settings.write_text(
        "[databases]\n"
        f"* = host=127.0.0.1 port={server.port} user={USER} password={server.password}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode.split(maxsplit=1)[0]}\nserver_round_robin = {int('ring' in mode)}\n"
    )
    for path in (folder, settings):
        account.own(path)
    log = folder / "log"
    try:
        with log.open("ab") as output:
            process = subprocess.Popen([program, settings], stdout=output, stderr=output, **account.process_options)
        try:
            _await(process, server, port, log)
            yield port
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], server: PostgresServer, port: int, log: Path) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url().replace(f":{server.port}/", f":{port}/"), connect_timeout=2).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > ends_at:
                raise PoolerError(f"pgbouncer does not answer:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return
