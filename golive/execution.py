"""May code that is not a request execute now? For jobs and commands; exported as `golive.is_execution_allowed` etc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from golive import snapshots, state
from golive.domain.decision import Decision, decide
from golive.domain.errors import ExecutionDenied, StateUnknownError


def is_execution_allowed(*, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Whether execution is allowed, from the leased snapshot; False where that cannot be known."""
    return snapshots.read_snapshot(using=using).decision.allowed


def require_execution(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Raise ExecutionDenied, with the code of the decision, unless execution is allowed (as `is_execution_allowed`)."""
    _check(snapshots.read_snapshot(using=using).decision)


@contextmanager
def execution_permit(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Inside, execution is allowed, and no change of the controls is made: a stop waits for the end of the transaction.

    Reads the row itself and holds a shared lock on it (SQLite: the one lock there is, so one permit at a time) in the
    caller's transaction, which then has to end soon, or else in one of its own for the block. Raises ExecutionDenied,
    before the block is begun, where execution is not allowed or that cannot be known in time.

    Keep it short: a stop that has waited for 3 seconds is answered with NOT_APPLIED.
    """
    with ExitStack() as stack:
        decision = decide(None)
        try:
            if not connections[using].in_atomic_block:
                stack.enter_context(transaction.atomic(using=using))
            decision = decide(state.share_go_live(using=using))
        except (StateUnknownError, Error) as error:
            raise ExecutionDenied(decision) from error
        _check(decision)
        yield


def _check(decision: Decision) -> None:
    if not decision.allowed:
        raise ExecutionDenied(decision)
