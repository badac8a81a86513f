"""Another project, which knows nothing of valhalla, installs the app and has its views guarded by it.

For tests/enforcement/. It shares the database with the control plane and is served by a process of its own.
"""
