"""Reading a refusal as people do: line by line, and running what stands behind "Remedy:"."""

from __future__ import annotations

import re

_LINE = re.compile(r"  (?:system_metadata|go_live_state)[.:].+\. Remedy: (.+;)")


def read_remedies(told: str) -> list[str]:
    """The SQL of each line, as it stands. Every line must have some, and name a table."""
    first, *lines = told.splitlines()
    assert "nothing was changed" in first, told
    assert lines, told
    found = [_LINE.fullmatch(line) for line in lines]
    assert None not in found, told
    return [match.group(1) for match in found if match is not None]
