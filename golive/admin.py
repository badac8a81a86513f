"""Where Django looks for an app's admin: the pages are in `golive.console`, and register themselves."""

from golive.console import singletons, timeline, tokens  # noqa: F401
