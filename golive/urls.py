"""All URL patterns of the app."""

from __future__ import annotations

from django.urls import re_path

from golive.api import changes, documentation, hooks, ofrep, reads
from golive.console import status_page
from golive.web.enforcement import mark_exempt
from golive.web.routes import route

app_name = "golive"
urlpatterns = [
    # Hottest first: Django tries the patterns in order.
    route("api/governance/go-live/state", reads.read_go_live_state, "go-live-state"),
    route("api/status", reads.read_status, "status"),
    # Matches any key, even one with a slash: it names no flag, and the endpoint says so.
    route(f"{ofrep.FLAGS_PATH.removeprefix('/')}/(?P<key>(?s:.+?))", ofrep.evaluate_flag, "evaluate-flag"),
    route(ofrep.FLAGS_PATH.removeprefix("/"), ofrep.evaluate_all_flags, "evaluate-all-flags"),
    route("api/system/status", changes.read_or_edit_system_status, "system-status"),
    re_path(r"^/*$", status_page.show_status, name="status-page"),
    route("readyz", reads.read_readiness, "readiness"),
    route("api/governance/go-live/checklist", reads.read_checklist, "checklist"),
    route("api/governance/go-live/history", reads.read_history, "history"),
    route("api/governance/runbook/status", reads.read_runbook, "runbook"),
    route("api/governance/runbook/markdown", reads.read_runbook_markdown, "runbook-markdown"),
    *changes.make_routes(),
    route("api/hooks/alertmanager", hooks.take_alerts, "alertmanager"),
    route(r"api/openapi\.json", documentation.read_openapi, "openapi"),
    route("api/docs", documentation.show_docs, "docs"),
    re_path(r"^/*(?:api|ofrep)(?:/.*)?$", reads.refuse_unknown, name="unknown"),
]

# The app's own views are exempt from enforcement: the state can be read and changed whatever it is.
for _pattern in urlpatterns:
    mark_exempt(_pattern.callback)
