"""Whether code outside a request may execute now: for jobs and commands; exported by the package `golive`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import DEFAULT_DB_ALIAS

from golive.database.failures import explain_cause
from golive.domain.decision import Decision, decide
from golive.domain.errors import ExecutionDenied, StateUnknownError
from golive.state import permits, snapshots

logger = logging.getLogger(__name__)


def is_execution_allowed(*, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Whether execution is allowed, from the leased snapshot; False if that cannot be known."""
    return snapshots.read_snapshot(using=using).decision.allowed


def require_execution(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Raise ExecutionDenied, with the code of the decision, unless `is_execution_allowed`."""
    _check(snapshots.read_snapshot(using=using).decision)


@contextmanager
def execution_permit(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Inside the block execution is allowed, and no stop is acknowledged as complete until the transaction has ended.

    The permit belongs to the caller's transaction, which should then be short, or to one opened for the block. A stop
    takes effect without waiting: once it has committed, no permit is granted. It then waits up to 3 seconds for the
    permits still held, and its acknowledgement says how many remain (`permits_outstanding`). Needs only SELECT on
    `go_live_state`.

    Raises ExecutionDenied, before the block is entered, if execution is not allowed or that cannot be known in time.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(permits.hold(lambda row: _check(decide(row)), using=using))
        except ExecutionDenied:
            raise
        except Exception as error:
            logger.warning("no permit can be given: %s", _explain(error, using))
            raise ExecutionDenied(decide(None)) from error
        yield


def _explain(error: Exception, using: str) -> str:
    return error.cause if isinstance(error, StateUnknownError) else explain_cause(error, using=using)


def _check(decision: Decision) -> None:
    if not decision.allowed:
        raise ExecutionDenied(decision)
