"""Hypothesis profiles: how many examples the property tests try.

`ci`, the default, tries the same examples each time, so that no run fails by chance. `--hypothesis-profile=long` tries
ten times as many, other ones in each run: for a change of what they are about, and now and then.
"""

from __future__ import annotations

from hypothesis import settings

DEFAULT = "ci"
_LONG = "long"
_FACTOR = 10

settings.register_profile(DEFAULT, deadline=None, derandomize=True, database=None)
settings.register_profile(_LONG, deadline=None, max_examples=100 * _FACTOR, print_blob=True)


def examples(count: int) -> int:
    """`max_examples` for a test that tries `count` in the default profile."""
    return count * (_FACTOR if settings.get_current_profile_name() == _LONG else 1)
