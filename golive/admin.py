"""The operator's room: each singleton as a page with its changes as buttons, and the record, read only.

Nothing here saves a model. Every change goes through `golive.controls`; the model forms of Django's admin are not
reachable, so a forged form field changes nothing.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from golive import controls, error_pages, history, problems, readiness, state
from golive.client import actor_of, origin_of
from golive.dialogs import Dialog, make_dialogs, read_form
from golive.domain.changes import CHANGES, Channel
from golive.domain.decision import decide
from golive.domain.errors import (
    GoLiveError,
    InvalidRequestError,
    NotAppliedError,
    OutcomeUnknownError,
    RefusedError,
    StateUnknownError,
)
from golive.domain.rows import GO_LIVE_STATE, GoLiveRow, SystemRow
from golive.models import Event, GoLiveState, SystemMetadata
from golive.token_admin import ApiTokenAdmin  # noqa: F401 - registers itself

admin.site.site_header = "Valhalla go-live"
admin.site.site_title = "Valhalla go-live"
admin.site.index_title = "Controls"

RECENT_EVENTS = 8


class SingletonAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A page for row 1: its state, its changes as buttons with one dialog each, the checklist and the newest events."""

    subject: str

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """To see it, or to do anything with it."""
        held = actor_of(request.user).permissions
        return super().has_view_permission(request, obj) or any(
            change.permission in held for change in CHANGES.values() if change.subject == self.subject
        )

    def get_urls(self) -> list[URLPattern]:
        name = f"golive_{self.opts.model_name}"
        return [
            path("", self.admin_site.admin_view(self.show_row), name=f"{name}_changelist"),
            path("apply/<str:change_name>/", self.admin_site.admin_view(self.apply), name=f"{name}_apply"),
            path("<path:object_id>/change/", self.admin_site.admin_view(self.show_row), name=f"{name}_change"),
        ]

    @method_decorator([transaction.non_atomic_requests, require_safe])
    def show_row(self, request: HttpRequest, object_id: str = "1") -> HttpResponse:
        """The page. `?change=NAME` opens that change's dialog, which also works where scripts do not."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if object_id != "1":
            raise Http404
        return self._page(request, self._dialogs(request, opened=request.GET.get("change")))

    @method_decorator([transaction.non_atomic_requests, require_POST])
    def apply(self, request: HttpRequest, change_name: str) -> HttpResponse:
        """Make a change. Refused, the page comes back with the dialog open, what was typed, and why not."""
        change = CHANGES.get(change_name)
        if change is None or change.subject != self.subject:
            raise Http404
        reason, fields = read_form(change, request.POST)
        actor = actor_of(request.user)
        try:
            done = controls.apply_change(
                change, actor=actor, reason=reason, channel=Channel.ADMIN, fields=fields, origin=origin_of(request)
            )
        except (RefusedError, StateUnknownError, NotAppliedError, OutcomeUnknownError) as error:
            return self._answer_failure(request, change_name, error)
        decision = decide(done.go_live)
        if done.changed:
            messages.success(request, f"{change.label}: done. {decision.message if done.go_live else ''}")
        else:
            messages.info(request, f"{change.label}: it was so already. Your request is recorded.")
        for remark in done.notes_on_request:
            messages.warning(request, f"Your {remark}.")
        return HttpResponseRedirect(reverse(f"admin:golive_{self.opts.model_name}_changelist"))

    def _answer_failure(self, request: HttpRequest, change_name: str, error: GoLiveError) -> HttpResponse:
        if not self.has_view_permission(request):
            return error_pages.answer(request, error)
        if not isinstance(error, InvalidRequestError):
            messages.error(request, error.detail)
        dialogs = self._dialogs(request, opened=change_name, error=error)
        # A database that has just failed is not asked again at length: the answer must come within 5 s.
        with_checklist = isinstance(error, RefusedError)
        return self._page(request, dialogs, status=problems.status_of(error), with_checklist=with_checklist)

    def _dialogs(self, request: HttpRequest, *, opened: str | None, error: GoLiveError | None = None) -> list[Dialog]:
        held = actor_of(request.user).permissions
        return make_dialogs(self.subject, held, self._row(), opened=opened, posted=request.POST, error=error)

    def _row(self) -> GoLiveRow | SystemRow | None:
        try:
            return state.read_go_live() if self.subject == GO_LIVE_STATE else state.read_system()
        except StateUnknownError:
            return None

    def _page(
        self, request: HttpRequest, dialogs: list[Dialog], *, status: int = 200, with_checklist: bool = True
    ) -> HttpResponse:
        row = self._row()
        go_live: GoLiveRow | None = None
        with suppress(StateUnknownError):
            go_live = state.read_go_live()
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name).capitalize(),
            "opts": self.opts,
            "subject": self.subject,
            "row": row,
            "decision": decide(go_live),
            "dialogs": dialogs,
            "checklist": readiness.run_checklist() if with_checklist else None,
            "events": history.read_recent(self.subject, limit=RECENT_EVENTS),
            "apply_url_name": f"admin:golive_{self.opts.model_name}_apply",
        }
        return TemplateResponse(request, "admin/golive/singleton.html", context, status=status)


@admin.register(GoLiveState)
class GoLiveStateAdmin(SingletonAdmin):
    subject = GO_LIVE_STATE


@admin.register(SystemMetadata)
class SystemMetadataAdmin(SingletonAdmin):
    subject = SystemMetadata._meta.db_table


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The record: who, when, why. To be read only."""

    list_display = ("sequence", "when", "what", "actor", "why", "channel")
    list_filter = ("action", "subject", "channel", "changed", "override")
    search_fields = ("actor", "on_behalf_of", "reason", "request_id")
    date_hierarchy = "at"
    list_per_page = 50
    actions = None
    exclude = ("at", "before", "after", "failed_checks")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        names = [field.name for field in Event._meta.fields if field.name not in self.exclude]
        return (*names[:1], "when", *names[1:], "row_before", "row_after", "checks_overridden")

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
