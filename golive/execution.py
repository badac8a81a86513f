"""May code that is not a request execute now? For jobs and commands; exported as `golive.is_execution_allowed` etc."""

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
    """Whether execution is allowed, from the leased snapshot; False where that cannot be known."""
    return snapshots.read_snapshot(using=using).decision.allowed


def require_execution(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Raise ExecutionDenied, with the code of the decision, unless execution is allowed (as `is_execution_allowed`)."""
    _check(snapshots.read_snapshot(using=using).decision)


@contextmanager
def execution_permit(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Inside, execution is allowed, and no stop is acknowledged as complete: it waits for the end of the transaction.

    Held by the caller's transaction, which then has to end soon, or else by one for the block. A stop does not wait to
    take effect: from its commit on no permit is given. It waits up to 3 seconds for those that are held, and its
    acknowledgement says how many still are (`permits_outstanding`). Needs the right to read `go_live_state` alone.

    Raises ExecutionDenied, before the block is begun, where execution is not allowed or that cannot be known in time.
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
