"""The module where Django looks for an app's admin. The pages live in `golive.console` and register on import."""

from golive.console import singletons, timeline, tokens  # noqa: F401
