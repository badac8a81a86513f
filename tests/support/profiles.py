"""Hypothesis profiles: how many examples the property tests try.

`ci`, the default, tries the same examples each time, so that no run fails by chance. `--hypothesis-profile=long` tries
ten times as many, other ones in each run: for a change of what they are about, and now and then. `thorough` tries 70
times as many.
"""

from __future__ import annotations

from hypothesis import settings

DEFAULT = "ci"
_FACTORS = {"long": 10, "thorough": 70}

settings.register_profile(DEFAULT, deadline=None, derandomize=True, database=None)
for name, factor in _FACTORS.items():
    settings.register_profile(name, deadline=None, max_examples=100 * factor, print_blob=True)


def examples(count: int) -> int:
    """`max_examples` for a test that tries `count` in the default profile."""
    return count * _FACTORS.get(settings.get_current_profile_name(), 1)
