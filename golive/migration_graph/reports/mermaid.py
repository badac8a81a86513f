"""The graph as a Mermaid flowchart, which GitHub and GitLab render inside Markdown. Long runs are folded.

Mermaid renders at most 500 edges and 50,000 characters; a larger chart is reduced to the part around the defects, and
says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from golive.migration_graph.model import Report
from golive.migration_graph.reports.condensed import Line, Piece, condense
from golive.migration_graph.reports.defects import find_defects
from golive.migration_graph.reports.layout import Style
from golive.migration_graph.reports.words import count, show

MAX_LINES: Final = 400
MAX_PIECES: Final = 300
MAX_LABEL_LENGTH: Final = 60
_ARROWS: Final = {Style.PARENT: "-->", Style.DEPENDENCY: "-.->", Style.LOOP: "-->", Style.CUT: "==>"}
_COLOURS: Final = {Style.LOOP: "#c77a7a", Style.CUT: "#c01f1f"}
# All other characters could end a label or be read as markup, so they become Mermaid's entity codes.
_HARMLESS: Final = frozenset(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/,:()")


def render(report: Report) -> str:
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    defects = find_defects(report)
    pieces, lines = condense(report, defects)
    shown = _choose(pieces, lines, defects.pinned)
    drawn = [line for line in lines if line.child in shown and line.parent in shown][:MAX_LINES]
    yield "flowchart TD"
    for piece in pieces:
        if piece.id in shown:
            yield f'  {piece.id}["{_label(report, piece)}"]'
    hidden = sum(len(piece.keys) for piece in pieces if piece.id not in shown)
    if hidden:
        yield f'  more["{count(hidden, "more revision")}"]'
    for line in drawn:
        yield f"  {line.child} {_ARROWS[line.style]} {line.parent}"
    for style, colour in _COLOURS.items():
        if numbers := [str(number) for number, line in enumerate(drawn) if line.style is style]:
            yield f"  linkStyle {','.join(numbers)} stroke:{colour},stroke-width:{3 if style is Style.CUT else 2}px"
    if marked := [piece.id for piece in pieces if piece.id in shown and defects.pinned.intersection(piece.keys)]:
        yield "  classDef defect stroke:#c01f1f,stroke-width:3px"
        yield f"  class {','.join(marked)} defect"


def _label(report: Report, piece: Piece) -> str:
    if len(piece.keys) > 1:
        return count(len(piece.keys), "revision")
    name = show(report.graph.nodes[piece.keys[0]].name, MAX_LABEL_LENGTH)
    # Mermaid rejects an empty label.
    return "".join(character if character in _HARMLESS else f"#{ord(character)};" for character in name or "(no name)")


def _choose(pieces: list[Piece], lines: list[Line], pinned: frozenset[str]) -> set[str]:
    """The ids of the pieces to draw: all, or those nearest to a defect (or to the top if there is none)."""
    if len(pieces) <= MAX_PIECES and len(lines) <= MAX_LINES:
        return {piece.id for piece in pieces}
    beside = defaultdict(list)
    for line in lines:
        beside[line.child].append(line.parent)
        beside[line.parent].append(line.child)
    todo = [piece.id for piece in pieces if pinned.intersection(piece.keys)] or [pieces[0].id]
    shown = dict.fromkeys(todo[:MAX_PIECES])
    for id_ in todo:  # grows during the iteration
        for other in beside[id_]:
            if other not in shown and len(shown) < MAX_PIECES:
                shown[other] = None
                todo.append(other)
    return set(shown)
