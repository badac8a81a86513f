"""Hypothesis profiles: how many examples the property tests try.

`ci`, the default, tries the same examples each time, so that no run fails by chance. `--hypothesis-profile=long` tries
ten times as many, other ones in each run: for a change of what they are about, and now and then. `thorough` tries 70
times as many, `quick` a fifth of them.
"""

from __future__ import annotations

from hypothesis import settings

DEFAULT = "ci"
QUICK = "quick"
_FACTORS = {DEFAULT: 1.0, QUICK: 0.2, "long": 10.0, "thorough": 70.0}

for name, factor in _FACTORS.items():
    is_repeatable = name in (DEFAULT, QUICK)
    settings.register_profile(
        name,
        deadline=None,
        max_examples=round(100 * factor),
        **({"derandomize": True, "database": None} if is_repeatable else {"print_blob": True}),
    )


def examples(count: int) -> int:
    """`max_examples` for a test that tries `count` in the default profile."""
    return max(1, round(count * _FACTORS.get(settings.get_current_profile_name(), 1.0)))
