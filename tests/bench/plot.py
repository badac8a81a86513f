"""The picture for the documents: throughput as bars, propagation as dots. Readable on light and on dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from tests.bench.goals import RATE_CONNECTIONS

Json = dict[str, Any]
WIDTH, LEFT, RIGHT, ROW, TITLE = 860, 290, 70, 24, 46
OURS = ("gate", "state", "status", "ofrep", "service")
FROM_MS, TO_MS, TICK_MS = -400, 2000, 400
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2933; }
.title { font-weight: 600; font-size: 15px; }
.quiet { fill: #5b6773; }
.grid { stroke: #d5dbe1; }
.zero { stroke: #5b6773; }
.other { fill: #9aa5b1; }
.ours { fill: #1b6fb8; }
.late { fill: #c0392b; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e9ee; }
  .quiet { fill: #9fb0bf; }
  .grid { stroke: #3a4651; }
  .zero { stroke: #9fb0bf; }
  .other { fill: #6b7a88; }
  .ours { fill: #4aa3ee; }
  .late { fill: #ff7b6b; }
}
"""


def draw(result: Json) -> str:
    """An SVG of what has been measured."""
    parts: list[str] = []
    height = 0
    for key, draw_part in (("throughput", _draw_throughput), ("propagation", _draw_propagation)):
        if key in result:
            drawn = list(draw_part(result[key], height))
            parts += drawn[:-1]
            height = int(drawn[-1])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="Benchmark of the go-live service and its peers">\n<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _draw_throughput(found: Json, top: int) -> Iterator[str]:
    """The last part is the height so far."""
    count = str(RATE_CONNECTIONS)
    rates = {
        name: (subject["label"], subject["connections"][count]["rate"])
        for name, subject in found["subjects"].items()
        if count in subject["connections"]
    }
    yield _text(8, top + 24, f"Requests per second over {count} connections", "title")
    top += TITLE
    most = max((rate for _, rate in rates.values()), default=1.0)
    for name, (label, rate) in sorted(rates.items(), key=lambda item: -item[1][1]):
        length = (WIDTH - LEFT - RIGHT) * rate / most
        kind = "ours" if name in OURS else "other"
        yield _text(LEFT - 10, top + 15, label, anchor="end")
        yield f'<rect class="{kind}" x="{LEFT}" y="{top + 3}" width="{length:.1f}" height="{ROW - 8}" rx="2"/>'
        yield _text(LEFT + length + 8, top + 15, f"{rate:,.0f}", "quiet")
        top += ROW
    yield str(top + 10)


def _draw_propagation(found: Json, top: int) -> Iterator[str]:
    """The last part is the height so far. A dot further right than the scale stands at its end."""
    systems = found["systems"]
    yield _text(
        8,
        top + 24,
        "Last request let through, in ms after the stop was acknowledged (a dot: a stop, watched for 2 s at most)",
        "title",
    )
    top += TITLE
    bottom = top + ROW * len(systems)
    for tick in range(FROM_MS, TO_MS + 1, TICK_MS):
        x = _scale(tick)
        yield f'<line class="{"zero" if tick == 0 else "grid"}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        yield _text(x, bottom + 17, f"{tick:+,}" if tick else "0", "quiet", anchor="middle")
    for name, system in systems.items():
        yield _text(LEFT - 10, top + 16, system["label"], anchor="end")
        for delay in system["delays_ms"]:
            kind = "late" if delay > 0 else "ours" if name in OURS else "other"
            yield f'<circle class="{kind}" cx="{_scale(delay)}" cy="{top + ROW / 2}" r="3.5" opacity="0.7"/>'
        top += ROW
    yield str(bottom + 30)


def _scale(ms: float) -> float:
    share = (min(max(ms, FROM_MS), TO_MS) - FROM_MS) / (TO_MS - FROM_MS)
    return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
