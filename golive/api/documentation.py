"""Serve the OpenAPI document, and render it as an HTML page without scripts or external resources."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from golive.api.endpoint import Payload, answer_tagged, endpoint
from golive.api.openapi.document import make_document

_CODE, _STRONG = re.compile(r"`([^`]+)`"), re.compile(r"\*\*([^*]+)\*\*")

Json = dict[str, Any]


@endpoint("GET")
def read_openapi(request: HttpRequest) -> HttpResponse:
    return answer_tagged(request, Payload.of(make_document()))


@endpoint("GET")
def show_docs(request: HttpRequest) -> HttpResponse:
    response = render(request, "golive/docs.html", _make_context())
    response["Cache-Control"] = "no-cache"
    return response


@functools.cache
def _make_context() -> Json:
    document = make_document()
    groups = [
        {
            "name": tag["name"],
            "description": _format(tag["description"]),
            "operations": list(_describe_operations(document, tag["name"])),
        }
        for tag in document["tags"]
    ]
    schemas = [
        {"name": name, "fields": _describe_fields(schema)} for name, schema in document["components"]["schemas"].items()
    ]
    codes = [{"code": code, "status": status} for code, status in document["x-problem-codes"].items()]
    return {"info": _paragraphs(document["info"]["description"]), "groups": groups, "schemas": schemas, "codes": codes}


def _describe_operations(document: Json, tag: str) -> Iterator[Json]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag not in operation["tags"]:
                continue
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield {
                "id": operation["operationId"],
                "method": method.upper(),
                "path": path,
                "summary": operation["summary"],
                "description": _format(operation.get("description", "")),
                "parameters": [
                    {"name": each["name"], "type": _type(each["schema"]), "description": _format(each["description"])}
                    for each in operation.get("parameters", ())
                ],
                "about_body": _format(body.get("schema", {}).get("description", "")),
                "fields": _describe_fields(body.get("schema", {})),
                "example": _example(body),
                "answers": [_describe_answer(status, each) for status, each in operation["responses"].items()],
            }


def _describe_answer(status: str, response: Json) -> Json:
    content = response.get("content", {})
    schema: Json = next((each["schema"] for each in content.values() if "schema" in each), {})
    return {
        "status": status,
        "description": _format(response["description"]),
        "schema": schema.get("$ref", "").rpartition("/")[2],
        "type": next(iter(content), ""),
        "headers": [name for name in response.get("headers", {}) if name != "X-Request-ID"],
        "example": next(filter(None, (_example(each) for each in content.values())), "") if status == "200" else "",
    }


def _describe_fields(schema: Json) -> list[Json]:
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": _type(each),
            "is_required": name in required,
            "description": _format(each.get("description", "")),
        }
        for name, each in schema.get("properties", {}).items()
    ]


def _type(schema: Json) -> str:
    """A short description of a schema's type."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    kind = schema.get("type", "anything")
    kinds = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "array" in kinds:
        return kinds.replace("array", f"list of {_type(schema['items'])}")
    limits = [f"from {schema['minimum']}" if "minimum" in schema else ""]
    limits += [f"at most {schema['maxLength']:,} characters" if "maxLength" in schema else ""]
    return ", ".join([kinds, *filter(None, limits)])


def _example(content: Json) -> str:
    for example in content.get("examples", {}).values():
        value = example["value"]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return ""


def _paragraphs(text: str) -> list[SafeString]:
    return [_format(" ".join(part.split())) for part in text.split("\n\n")]


def _format(text: str) -> SafeString:
    """Escape the text, and render `code` and **strong** as HTML."""
    marked = _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text)))
    return mark_safe(marked)  # noqa: S308 - escaped above
