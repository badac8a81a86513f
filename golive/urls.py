"""All paths of the app. Each works with and without a trailing slash; both forms are answered, neither redirects."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from golive import pages
from golive.api import reads
from golive.api.endpoint import View


def route(path: str, view: View, name: str) -> URLPattern:
    return re_path(rf"^{path}/?$", view, name=name)


app_name = "golive"
urlpatterns = [
    re_path(r"^$", pages.show_status, name="status-page"),
    route("readyz", reads.read_readiness, "readiness"),
    route("api/status", reads.read_status, "status"),
    route("api/system/status", reads.read_system_status, "system-status"),
    route("api/governance/go-live/state", reads.read_go_live_state, "go-live-state"),
    route("api/governance/go-live/checklist", reads.read_checklist, "checklist"),
    route("api/governance/go-live/history", reads.read_history, "history"),
    route("api/governance/runbook/status", reads.read_runbook, "runbook"),
    route("api/governance/runbook/markdown", reads.read_runbook_markdown, "runbook-markdown"),
    re_path(r"^api(?:/.*)?$", reads.refuse_unknown, name="unknown"),
]
