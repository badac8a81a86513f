"""The OpenAPI document agrees with the service: paths, methods, codes, examples; and the page shows all of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.test import Client
from django.urls import URLPattern

from golive import urls
from golive.api.openapi.answers import CODES, DENIALS, DESCRIPTIONS
from golive.api.openapi.document import make_document
from golive.domain import errors
from golive.domain.changes import CHANGES
from golive.domain.errors import GoLiveError
from golive.gate import GATES
from golive.middleware import LIVENESS_PATHS
from golive.web import problems

DOCUMENT = make_document()
# Answered before Django, whatever the method.
GATE_PATHS = [f"/{name}" for name in GATES]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_document__is_served_as_it_is_made(client: Client) -> None:
    response = client.get("/api/openapi.json")

    assert response["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT
    assert response.json()["openapi"] == "3.1.0"


def test_document__names_every_route() -> None:
    routed = {*LIVENESS_PATHS, *GATE_PATHS}
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        if pattern.name != "unknown":
            path = str(pattern.pattern).removeprefix("^/*").removesuffix("$").removesuffix("/?").replace("\\.", ".")
            routed.add("/" + re.sub(r"\(\?P<(\w+)>.*\)", r"{\1}", path))

    assert set(DOCUMENT["paths"]) == routed


@pytest.mark.parametrize("path", [path for path in DOCUMENT["paths"] if path not in GATE_PATHS])
def test_document__names_every_method(client: Client, path: str) -> None:
    """By what the service itself says in `Allow`."""
    allowed = set(client.delete(path)["Allow"].split(", ")) - {"HEAD", "OPTIONS"}

    assert {method.upper() for method in DOCUMENT["paths"][path]} == allowed


def test_document__has_every_change_with_its_scope() -> None:
    for change in CHANGES.values():
        operation = DOCUMENT["paths"][change.path][change.method.lower()]
        assert operation["operationId"] == change.name
        assert operation["security"][0]["token"][0] in ("engage", "disable", "release", "enable", "complete")


def test_document__has_every_code() -> None:
    listed = {code for codes in CODES.values() for code in codes} | set(DENIALS)

    assert listed == set(problems.TITLES) == set(DESCRIPTIONS)
    public = {
        kind.code
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, GoLiveError) and not kind.__subclasses__()
    }
    assert public <= listed


def test_document__code_and_status__are_those_of_the_mapping() -> None:
    made = {
        problems.not_found(),
        problems.bad_request(),
        problems.method_not_allowed("BREW", ()),
        problems.unauthenticated(),
        problems.bad_token(),
        problems.forbidden("no"),
        problems.tls_required(),
        problems.too_large(),
        problems.unsupported_type(),
        problems.too_many_failures(1),
        problems.internal_error(),
        errors.StateUnknownError("x"),
        errors.NotAppliedError("x"),
        errors.OutcomeUnknownError("x"),
        errors.PermissionRequiredError("x"),
        errors.InvalidRequestError([]),
        errors.ChecklistFailedError([]),
    }
    for error in made:
        assert error.code in CODES[problems.status_of(error)]
    assert {error.code for error in made} | {"REVISION_MISMATCH", *DENIALS} == set(problems.TITLES)


def test_examples__are_valid() -> None:
    components = DOCUMENT["components"]
    count = 0
    for method, path, operation in operations():
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [response.get("content", {}) for response in operation["responses"].values()]
        for content in (each for kinds in contents for each in kinds.values()):
            validator = jsonschema_rs.validator_for({**content.get("schema", {}), "components": components})
            for example in content.get("examples", {}).values():
                count += 1
                assert validator.is_valid(example["value"]), f"{method} {path}: {example['value']}"
    assert count > 100


def test_references__all_lead_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT))):
        found: Any = DOCUMENT
        for step in reference.split("/"):
            found = found[step]


def test_operation_ids__are_unique() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(names) == len(set(names))


def test_docs__show_every_operation_and_code(client: Client) -> None:
    page = client.get("/api/docs").content.decode()

    for _, path, operation in operations():
        assert f'id="{operation["operationId"]}"' in page
        assert path in page
    for code in problems.TITLES:
        assert code in page


def test_docs__need_nothing_from_elsewhere_and_no_inline_code(client: Client) -> None:
    response = client.get("/api/docs")
    page = response.content.decode()

    assert "unsafe" not in response["Content-Security-Policy"]
    assert "<script" not in page
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
