"""Holds answers against the OpenAPI document: path, method, status, type, headers and the whole body."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from golive.api.ofrep import FLAGS_PATH
from golive.api.openapi.document import make_document
from golive.gate import GATES


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """What the document says of a request; None if it says nothing."""
    paths = make_document()["paths"]
    gate = path.lstrip("/").partition("/")[0]
    if gate in GATES:
        # Any method and any path below.
        method, path = "GET", f"/{gate}"
    wanted = "get" if method == "HEAD" else method.lower()
    found: dict[str, Any] | None = paths.get(find_template(path), {}).get(wanted)
    return found


def find_template(path: str) -> str:
    """The path as the document has it: without its last slash, and a flag's name as `{key}`."""
    path = path.rstrip("/") or "/"
    return f"{FLAGS_PATH}/{{key}}" if path.startswith(f"{FLAGS_PATH}/") else path


def assert_documented(method: str, path: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """That an answer is one that the document announces. 404 and 405 stand for what it does not list."""
    operation = operation_of(method, path)
    if method == "OPTIONS" and operation is None:
        assert status == 204
        return
    if operation is None:
        name = "NotFound" if find_template(path) not in make_document()["paths"] else "MethodNotAllowed"
        response = make_document()["components"]["responses"][name]
        assert status == {"NotFound": 404, "MethodNotAllowed": 405}[name]
    else:
        assert str(status) in operation["responses"], f"{method} {path} answers an undocumented {status}: {content!r}"
        response = operation["responses"][str(status)]
    _assert_headers(response, headers)
    if method == "HEAD" or status == 304:
        assert content == b""
        return
    kind = headers["Content-Type"].split(";")[0]
    assert kind in response["content"], f"{method} {path} answers {status} as an undocumented {kind}"
    if "json" in kind:
        found = list(_validator(json.dumps(response["content"][kind]["schema"])).iter_errors(json.loads(content)))
        assert not found, f"{method} {path} {status}: {found[0].message} at {found[0].instance_path} in {content!r}"


def _assert_headers(response: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    known = make_document()["components"]["headers"]
    for name in response["headers"]:
        assert name in headers, f"the documented header {name} is missing"
        _validator(json.dumps(known[name]["schema"])).validate(headers[name])


@functools.cache
def _validator(schema: str) -> Any:
    components = {"schemas": make_document()["components"]["schemas"]}
    return jsonschema_rs.validator_for({**json.loads(schema), "components": components}, validate_formats=True)
