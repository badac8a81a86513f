"""Read-only pages of the event log."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.admin.views.main import ChangeList
from django.db import DataError, models
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from golive.models import Event


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The event log: who, when, why. Read-only."""

    list_display = ("number", "when", "what", "actor", "why", "channel")
    list_filter = ("action", "subject", "channel", "changed", "override")
    search_fields = ("actor", "on_behalf_of", "reason", "request_id")
    date_hierarchy = "at"
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    actions = None
    fieldsets = (
        (None, {"fields": ("sequence", "when", "actor", "channel", "action", "subject", "reason")}),
        ("Effect", {"fields": ("changed", "override", "checks_overridden", "row_before", "row_after")}),
        ("Origin", {"fields": ("on_behalf_of", "user_id", "request_id", "remote_addr")}),
        ("Chain", {"fields": ("hash_version", "salt", "previous_hash", "hash")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        return tuple(flatten_fieldsets(self.fieldsets))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Treat values that fail only in the query like other invalid filters, which Django handles itself."""
        try:
            return super().get_changelist_instance(request)
        except (DataError, OverflowError, ValueError) as error:
            raise IncorrectLookupParameters from error

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Events", **(extra_context or {})})

    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self.has_view_permission(request) and self.get_object(request, unquote(object_id)) is None:
            raise Http404
        return super().change_view(request, object_id, form_url, {"title": "Event", **(extra_context or {})})

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """404: the event log is its own history, and Django's would be empty."""
        raise Http404

    @admin.display(description="#", ordering="sequence")
    def number(self, event: Event) -> str:
        return f"#{event.sequence}"

    @admin.display(description="at (UTC)", ordering="sequence")
    def when(self, event: Event) -> str:
        return event.at.strftime("%Y-%m-%d %H:%M:%S")

    @admin.display(description="action", ordering="action")
    def what(self, event: Event) -> str:
        marks = [mark for mark, shown in (("no change", not event.changed), ("override", event.override)) if shown]
        return f"{event.action} ({', '.join(marks)})" if marks else event.action

    @admin.display(description="reason")
    def why(self, event: Event) -> str:
        return event.reason if len(event.reason) <= 120 else f"{event.reason[:119]}…"

    @admin.display(description="before")
    def row_before(self, event: Event) -> SafeString | str:
        return _pretty(event.before)

    @admin.display(description="after")
    def row_after(self, event: Event) -> SafeString | str:
        return _pretty(event.after)

    @admin.display(description="failed checks")
    def checks_overridden(self, event: Event) -> SafeString | str:
        return _pretty(event.failed_checks)


def _pretty(value: Any) -> SafeString | str:
    if value is None:
        return "-"
    return format_html('<pre class="golive-json">{}</pre>', json.dumps(value, ensure_ascii=False, indent=2))
