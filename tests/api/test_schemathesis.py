"""Requests that nobody would think of, made from the OpenAPI document and sent to the running service.

Bounded and the same each time. Nothing may fail with 5xx, and nothing may be answered that the document does not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from golive.api.openapi.document import make_document
from tests.api.service import Service, running_service

# Once, on what production runs: that each database takes any text is tested with the changes themselves.
pytestmark = pytest.mark.postgresql

EXAMPLES = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# Where 503 is the answer, and not a failure.
DENIES_WITH_503 = "/gate-503"

schema = schemathesis.openapi.from_dict(make_document())
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def find_checks(case: schemathesis.Case) -> list[Any]:
    """Those that hold for this path; a 503 of the gate has to be as documented, like every answer."""
    return [check for check in CHECKS if check is not not_a_server_error or not case.path.startswith(DENIES_WITH_503)]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        running.token()
        yield running


@pytest.mark.slow
@schema.parametrize()
@bounded
def test_any_request__is_answered_as_documented(case: schemathesis.Case, service: Service) -> None:
    """With a token that may do everything."""
    headers = {"Authorization": f"Bearer {service.token()}"}
    case.call_and_validate(base_url=service.server.url("/"), headers=headers, checks=find_checks(case))


@pytest.mark.slow
@schema.parametrize()
@settings(bounded, max_examples=3)
def test_any_request__of_nobody__is_answered_as_documented(case: schemathesis.Case, service: Service) -> None:
    case.call_and_validate(base_url=service.server.url("/"), checks=find_checks(case))
