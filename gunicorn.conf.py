"""How gunicorn serves `valhalla.wsgi:application`. Read by default from the folder that gunicorn is started in."""

import os
import socket
import sys
import threading
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers import gthread
from gunicorn.workers.base import Worker

from valhalla.environment import SERVER_THREADS, load

try:
    environment = load()
except ImproperlyConfigured as error:
    # One line instead of a traceback: it names the variable and the remedy.
    raise SystemExit(f"gunicorn: {error}") from None

# In production the platform's proxy comes from another host. In development nobody but this machine should reach it.
_address = "0.0.0.0" if environment.is_production else "127.0.0.1"  # noqa: S104 - behind the platform's proxy
bind = f"{_address}:{environment.port}"

# Threads, because a request may wait: for the database, or for the lease that an acknowledged stop has to outlast.
# A `sync` worker would answer nobody else meanwhile. So many that 16 stops at once, which all wait out a long lease,
# leave some to others (`golive.admission`). Each may hold a database connection; README says how many that makes.
worker_class = "gthread"
workers = environment.web_concurrency
threads = SERVER_THREADS
# Seconds for which a connection that says nothing, or a body that nobody reads, keeps one of them; then the connection
# waits without one, or is closed. With gunicorn's 5 a few of them hold up everybody for longer than a read may take.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 1.0
# Every worker listens on a socket of its own and the kernel spreads the connections evenly. With one shared socket they
# pile up on whichever worker wakes first, and throughput falls to a third.
reuse_port = True
# Import in each worker, not once before the fork: connections, locks and threads must not be shared across a fork.
preload_app = False

# Seconds. The heartbeat of a gthread worker comes from its main loop, so this ends a hung process, not a slow request.
timeout = 30
# Below the 30 seconds that the platform allows between SIGTERM and SIGKILL, above anything that a request may take.
graceful_timeout = 20
# Longer than a proxy keeps an idle connection, so that it is the proxy that closes: if gunicorn did, a request that is
# sent at that moment would be lost with a 502. An idle connection costs no thread.
keepalive = 120
# The heartbeat is a file: on a disk, a slow one could block the worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - gunicorn makes a private file there

# Nobody needs to command the running server, and a socket for it would be one more thing to protect.
control_socket_disable = True
# No header of a request is taken for the platform's word, whatever address it comes from (the default trusts the
# addresses in FORWARDED_ALLOW_IPS, and with them a SCRIPT_NAME header). Django reads X-Forwarded-Proto by itself.
forwarded_allow_ips = ""

loglevel = environment.log_level.lower()
errorlog = "-"
accesslog = "-"
# The id is that of the answer: the same one stands in the application's lines and in an error's `request_id`.
access_log_format = '%(t)s %(h)s "%(r)s" %(s)s %(B)s bytes %(M)s ms [%({x-request-id}o)s] "%(a)s"'


class AccessLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Logs requests without their query string: a token that somebody puts there by mistake must not be kept.

    What the application marks as `golive.unlogged` is left out: the gate, which a proxy asks for every request that the
    proxy logs itself. Platforms drop what exceeds some lines a minute, and with it the lines that matter.
    """

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        if "golive.unlogged" not in environ:
            super().access(resp, req, environ, request_time)

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> dict[str, Any]:
        """Only what the format names: gunicorn's own collects every header and variable, which every request pays."""
        # The raw path: the decoded one may hold line breaks, with which a client could forge lines.
        path = environ["RAW_URI"].partition("?")[0]
        return {
            "t": self.now(),
            "h": environ.get("REMOTE_ADDR", "-"),
            "r": f"{environ['REQUEST_METHOD']} {path} {environ['SERVER_PROTOCOL']}",
            # Not `status_code`: an answer that gunicorn gives by itself, to a request that is none, has no such thing.
            "s": resp.status.partition(" ")[0],
            "B": resp.sent,
            "M": request_time // timedelta(milliseconds=1),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "{x-request-id}o": next((value for name, value in resp.headers if name.lower() == "x-request-id"), "-"),
        }


logger_class = AccessLogger


_closers = threading.BoundedSemaphore(16)


def close_connection(connection: gthread.TConn, graceful: bool = False) -> None:
    """In place of gunicorn's, which waits up to 2 seconds for the client to close too, in the thread that serves all.

    This one waits in a thread of its own; if there are many already, not at all.
    """
    if graceful and _closers.acquire(blocking=False):
        try:
            threading.Thread(target=_close_gracefully, args=(connection.sock,), daemon=True).start()
        except RuntimeError:
            _closers.release()
        else:
            return
    util.close(connection.sock)


def _close_gracefully(client: socket.socket) -> None:
    try:
        util.close_graceful(client)
    finally:
        _closers.release()


gthread.TConn.close = close_connection


def on_starting(server: Arbiter) -> None:
    """Refuse a port that is taken. With `reuse_port` the kernel would let a second server share it silently."""
    if server.master_pid:
        return  # Started by a running server to take its place: sharing the port is the point.
    for address in server.cfg.address:
        if isinstance(address, tuple):
            _check_is_free(*address[:2])


def _check_is_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Without SO_REUSEPORT, so that it fails as soon as anybody listens; a connection that lingers is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            problem = f"cannot listen on {host} port {port}: {error.strerror}. Set PORT to a free one"
            raise SystemExit(f"gunicorn: {problem}.") from None


def when_ready(server: Arbiter) -> None:
    """Say where to reach it: gunicorn's own line is empty when the workers listen by themselves."""
    for address in server.cfg.address:
        server.log.info("Workers listen at: %s", address)


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Tell the application how many threads it has; a command line may say otherwise than this file."""
    os.environ["WSGI_THREADS"] = str(worker.cfg.threads)


def post_worker_init(worker: Worker) -> None:
    # Seconds after which a thread that computes lets another one go on. With Python's 5 ms the gate, which needs some
    # turns for each answer, waits a third of a second while many threads make pages; throughput is the same.
    sys.setswitchinterval(0.001)
    worker.log.info("Worker ready (pid: %s)", worker.pid)
