"""The application of docs/embed/guard.md, with a little more to guard. Served by uvicorn."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request, WebSocket

from tests.support.server import ROOT

_BLOCK = re.compile(r"<!-- run as an application with GATE_URL -->\n```python\n(.*?)```", re.DOTALL)

recipe: dict[str, Any] = {"__name__": "recipe"}
(code,) = _BLOCK.findall((ROOT / "docs/embed/guard.md").read_text())
exec(compile(code, "docs/embed/guard.md", "exec"), recipe)
app: FastAPI = recipe["app"]


@app.api_route("/echo/{rest:path}", methods=["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def echo(request: Request, rest: str) -> dict[str, Any]:
    return {"length": len(await request.body())}


@app.websocket("/socket")
async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()
