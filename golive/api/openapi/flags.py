"""The two OFREP operations, which serve the state as flags."""

from __future__ import annotations

from typing import Any

from golive.api import ofrep
from golive.api.openapi.answers import answer, problem, with_headers
from golive.api.openapi.examples import ALL_FLAGS
from golive.api.openapi.schemas import TEXT, reference
from golive.domain.flags import SAFE_VALUES
from golive.domain.scopes import READ

TAG = "OpenFeature"
_ERRORS = (400, 401, 403, 415, 429, 500)
_CONTEXT = {
    "type": "object",
    "properties": {"context": {"type": "object", "description": "Changes no value; may be left out"}},
}
_DESCRIPTION = (
    "A state that is unknown is 200 with the safe values, the reason `UNKNOWN` and the code `STATE_UNKNOWN`: for an "
    "error a client takes the default in its own code, so give the safe one. Providers of servers (Python, JavaScript) "
    "ask at every evaluation and see an acknowledged stop. Providers of pages (`@openfeature/ofrep-web-provider`) "
    'answer from what they have, for up to 30 days, unless they have the options `cacheMode: "disabled"` and '
    "`pollInterval`, and begin anew when a poll fails; docs/consumers/openfeature.md has an example. "
    "What executes must be guarded where it runs."
)
_KEY = {
    "name": "key",
    "in": "path",
    "required": True,
    "description": f"The name of the flag: {', '.join(f'`{key}`' for key in SAFE_VALUES)}",
    "schema": TEXT,
    "example": "execution-allowed",
}


def make_flag_paths() -> dict[str, dict[str, Any]]:
    one = answer("The flag; the safe value while the state is unknown", reference("Flag"), ALL_FLAGS["flags"][0])
    every = answer("All flags; an `ETag` only while the state is known", reference("Flags"), ALL_FLAGS)
    known = with_headers({"description": "The client's `If-None-Match` names these values"}, "ETag")
    return {
        f"{ofrep.FLAGS_PATH}/{{key}}": _post(
            "evaluateFlag", "One flag", {"200": one, "404": problem(404)}, parameters=[_KEY]
        ),
        ofrep.FLAGS_PATH: _post("evaluateAllFlags", "All flags", {"200": every, "304": known}),
    }


def _post(name: str, summary: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    responses |= {str(status): problem(status) for status in _ERRORS}
    example: dict[str, Any] = {"example": {"value": {"context": {}}}}
    return {
        "post": {
            "operationId": name,
            "tags": [TAG],
            "summary": summary,
            "description": _DESCRIPTION,
            "security": [{}, {"token": [READ]}, {"apiKey": []}, {"session": []}],
            "requestBody": {
                "required": False,
                "content": {"application/json": {"schema": _CONTEXT, "examples": example}},
            },
            "responses": dict(sorted(responses.items())),
            **more,
        }
    }
