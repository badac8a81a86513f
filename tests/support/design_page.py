"""The parts of docs/explain/design.md that follow from the code, written between markers in the page.

`python -m tests.support.design_page` writes them again; a test fails while they are out of date.
"""

from __future__ import annotations

import itertools
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from golive.domain.changes import CHANGES, STOP_OF, Change, Direction
from golive.domain.decision import decide
from golive.domain.effects import plan_steps
from golive.domain.requests import ChangeRequest
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, Rows, SystemRow
from tests.support.server import ROOT

PAGE = ROOT / "docs" / "explain" / "design.md"
COMMAND = "python -m tests.support.design_page"
# What the first migration leaves behind: go-live disabled, kill switch engaged, backend incomplete.
SEEDED = (True, False, False)
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)
_DIRECTIONS = {Direction.SAFE: "toward safe", Direction.LIVE: "toward live", Direction.NEUTRAL: "neutral"}

# The kill switch is engaged, go-live is enabled, the backend is complete.
State = tuple[bool, bool, bool]


def make_parts() -> dict[str, str]:
    """Every generated part by the name in its markers."""
    return {"changes": draw_table(), "states": draw_states(), "rooms": draw_rooms()}


def replace_parts(page: str, parts: dict[str, str]) -> str:
    """The page with its generated parts. Raises ValueError where a pair of markers is missing."""
    for name, text in parts.items():
        marked = re.compile(rf"(<!-- {name}: generated[^\n]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        pieces = marked.split(page)
        if len(pieces) != 4:
            raise ValueError(f"the page has no single pair of markers for {name}")
        before, begin, end, after = pieces
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    return page


def draw_table() -> str:
    """The table of changes, one line for each."""
    head = ("change", "direction", "path", "permission", "reason", "checklist", "undoes")
    lines = [
        (
            f"`{change.name}`",
            _DIRECTIONS[change.direction],
            f"`{change.method} {change.path}`",
            f"`{change.permission}`",
            "required" if change.is_reason_required else "optional",
            "must pass, or be overridden" if change.is_guarded else "-",
            f"`{STOP_OF[change.name].name}`" if change.name in STOP_OF else "-",
        )
        for change in CHANGES.values()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *lines))


def draw_states() -> str:
    """A Mermaid diagram of each row's states, and of what each change makes of them."""
    arrows = [
        *_find_arrows(lambda state: _name_switches(state[0], state[1])),
        *_find_arrows(lambda state: _name_backend(state[2])),
    ]
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        f"    state {GO_LIVE_STATE} {{",
        *(
            f'        state "{_describe(engaged, enabled)}" as {_name_switches(engaged, enabled)}'
            for engaged, enabled in itertools.product((True, False), repeat=2)
        ),
        f"        [*] --> {_name_switches(*SEEDED[:2])}: first migrate",
        *(f"        {arrow}" for arrow in arrows if "backend" not in arrow),
        "    }",
        f"    state {SYSTEM_METADATA} {{",
        *(
            f'        state "backend {"complete" if value else "incomplete"}" as {_name_backend(value)}'
            for value in (False, True)
        ),
        f"        [*] --> {_name_backend(SEEDED[2])}: first migrate",
        *(f"        {arrow}" for arrow in arrows if "backend" in arrow),
        "    }",
        "```",
    ]
    return "\n".join(lines)


def draw_rooms() -> str:
    """The layers of the import contract in pyproject.toml, the uppermost first."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = [each for each in options["tool"]["importlinter"]["contracts"] if each["id"] == "rooms"]
    return "\n".join(["```text", *(layer.replace(" | ", "  ") for layer in contract["layers"]), "```"])


def find_transitions() -> Iterator[tuple[State, Change, State]]:
    """Every change from every state, those that change nothing left out."""
    for state in itertools.product((True, False), (True, False), (True, False)):
        for change in CHANGES.values():
            after = _apply(change, state)
            if after != state:
                yield state, change, after


def _apply(change: Change, state: State) -> State:
    engaged, enabled, complete = state
    rows = Rows(
        go_live=GoLiveRow(enabled, engaged, None, None, None, 1, 250, None),
        system=SystemRow("1.0.0", complete, None, None, None, 1),
    )
    for step in plan_steps(change, rows, ChangeRequest(reason="why"), actor="somebody", now=_WHEN):
        if isinstance(step.after, GoLiveRow):
            engaged, enabled = step.after.kill_switch_engaged, step.after.go_live_enabled
        else:
            complete = step.after.backend_complete
    return engaged, enabled, complete


def _find_arrows(name: Callable[[State], str]) -> list[str]:
    arrows: dict[tuple[str, str], dict[str, None]] = {}
    for before, change, after in find_transitions():
        if name(before) != name(after):
            arrows.setdefault((name(before), name(after)), {})[_label(change)] = None
    return [f"{before} --> {after}: {', '.join(labels)}" for (before, after), labels in arrows.items()]


def _label(change: Change) -> str:
    return f"{change.name} [checklist]" if change.is_guarded else change.name


def _describe(engaged: bool, enabled: bool) -> str:
    row = GoLiveRow(enabled, engaged, None, None, None, 1, 250, None)
    switch, go_live = "engaged" if engaged else "released", "enabled" if enabled else "disabled"
    return f"switch {switch}, go-live {go_live} = {decide(row).code}"


def _name_switches(engaged: bool, enabled: bool) -> str:
    return f"{'engaged' if engaged else 'released'}_{'enabled' if enabled else 'disabled'}"


def _name_backend(complete: bool) -> str:
    return f"backend_{'complete' if complete else 'incomplete'}"


def main() -> int:
    old = PAGE.read_text()
    new = replace_parts(old, make_parts())
    PAGE.write_text(new)
    print(f"{PAGE.name} was {'up to date' if new == old else 'out of date and is written anew'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
