"""The OpenFeature Remote Evaluation Protocol (OFREP 0.3): the state as flags, one at a time or all at once.

On an error, a client falls back to the default in its own code, which may be the wrong one. An unknown state is
therefore not an error here: it is 200 with the safe values.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.db import Error
from django.http import HttpRequest, HttpResponse

from golive.api import body
from golive.api.endpoint import Payload, answer_payload, answer_tagged, encode, endpoint
from golive.database.deadline import READ_SECONDS, database_deadline
from golive.domain.errors import GoLiveError
from golive.domain.flags import SAFE_VALUES, evaluate_flags
from golive.identity.credentials import API_KEY_HEADER, check_can_read
from golive.state import snapshots
from golive.state.snapshots import Snapshot
from golive.web import problems, representations
from golive.web.problems import HttpError

logger = logging.getLogger(__name__)

FLAGS_PATH = "/ofrep/v1/evaluate/flags"
# Bodies of clients without a context, accepted without parsing.
_EMPTY_BODIES = (b"", b"{}", b'{"context":{}}', b'{"context": {}}')
# A longer body is accepted unparsed. It is read up to the second limit; beyond it the connection may be closed.
_MAX_CONTEXT_BYTES = 64 * body.KIB
_MAX_DISCARDED_BYTES = 8 * 1024 * body.KIB
_VARY = f"Authorization, Cookie, {API_KEY_HEADER}"
_UNKNOWN = Snapshot(None, None, 0.0)
_ERROR_CODES = {HTTPStatus.BAD_REQUEST: "PARSE_ERROR", HTTPStatus.NOT_FOUND: "FLAG_NOT_FOUND"}


class InvalidContextError(HttpError):
    """The body is JSON, but its context is not an object."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "The context must be a JSON object.")


@dataclass(frozen=True)
class Answers:
    """The encoded answers for one snapshot."""

    by_key: dict[str, bytes]
    bulk: Payload
    is_known: bool


def make_answers(snapshot: Snapshot) -> Answers:
    evaluations = evaluate_flags(snapshot.go_live, snapshot.system)
    by_key = {evaluation.key: encode(representations.flag(evaluation)) for evaluation in evaluations}
    is_known = all(evaluation.is_known for evaluation in evaluations)
    return Answers(by_key, Payload.of(representations.flags(evaluations)), is_known)


def describe_error(error: GoLiveError, *, key: str | None = None) -> dict[str, Any]:
    """The protocol's own members of an error, in addition to problem+json."""
    code = _ERROR_CODES.get(problems.status_of(error), "GENERAL")
    if isinstance(error, InvalidContextError):
        code = "INVALID_CONTEXT"
    named = {} if key is None else {"key": key}
    return {**named, "errorCode": code, "errorDetails": error.detail}


@endpoint("POST", describe_error=describe_error)
def evaluate_flag(request: HttpRequest, key: str) -> HttpResponse:
    """One flag."""
    payload = _read_answers(request).by_key.get(key)
    if payload is None:
        raise problems.not_found(f"No such flag. There are: {', '.join(SAFE_VALUES)}.")
    return answer_payload(payload)


@endpoint("POST", describe_error=describe_error)
def evaluate_all_flags(request: HttpRequest) -> HttpResponse:
    """All flags; 304 for a client that already has these values."""
    answers = _read_answers(request)
    if not answers.is_known:
        # An unknown state must not be cached.
        return answer_payload(answers.bulk.content)
    return answer_tagged(request, answers.bulk, vary=_VARY)


def _read_answers(request: HttpRequest) -> Answers:
    # A POST, but a read, so it gets a read's deadline.
    with database_deadline(READ_SECONDS):
        try:
            check_can_read(request, takes_api_key=True)
        except Error:
            # The caller is unknown. The safe values disclose nothing; an error would trigger the client's default.
            logger.warning("the database failed", exc_info=True)
            return _UNKNOWN.once(make_answers)
        _check_body(request)
        return snapshots.read_snapshot().once(make_answers)


def _check_body(request: HttpRequest) -> None:
    """Raise HttpError for a body that violates the protocol. The context itself affects no value."""
    if not body.is_object_in(
        request, "context", limit=_MAX_CONTEXT_BYTES, discard=_MAX_DISCARDED_BYTES, empty=_EMPTY_BODIES
    ):
        raise InvalidContextError
