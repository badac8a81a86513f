"""A page for each singleton, with its changes as buttons.

Nothing here saves a model. Every change goes through `golive.controls`; the admin's model forms are unreachable, so a
forged form field changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import Error, models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from golive.console.dialogs import make_dialogs, read_form
from golive.controls.apply import apply_change
from golive.domain.changes import CHANGES, Channel, Direction
from golive.domain.decision import decide
from golive.domain.errors import (
    ChecklistFailedError,
    GoLiveError,
    NotAppliedError,
    OutcomeUnknownError,
    RefusedError,
    StateUnknownError,
    UnavailableError,
)
from golive.domain.rows import GO_LIVE_STATE, GoLiveRow, SystemRow
from golive.identity.actors import actor_of, origin_of
from golive.models import GoLiveState, SystemMetadata
from golive.readiness import shared_runs
from golive.state import history, singletons
from golive.web import error_pages, problems, representations

logger = logging.getLogger(__name__)

RECENT_EVENTS = 8
NOTHING_DONE = "The database does not answer; nothing was done. Try again, or use `manage.py golive` or SQL."

Row = TypeVar("Row", GoLiveRow, SystemRow)


class SingletonAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A page for row 1: its state, a button and a dialog for each change, the checklist and the newest events."""

    subject: str

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Whether the user may view the row or make any of its changes."""
        permissions = actor_of(request.user).permissions
        return super().has_view_permission(request, obj) or any(
            change.permission in permissions for change in CHANGES.values() if change.subject == self.subject
        )

    def get_urls(self) -> list[URLPattern]:
        name = f"golive_{self.opts.model_name}"
        return [
            path("", self.admin_site.admin_view(self.show_row), name=f"{name}_changelist"),
            path("apply/<str:change_name>/", self.apply_or_sign_in, name=f"{name}_apply"),
            path("<path:object_id>/change/", self.admin_site.admin_view(self.show_row), name=f"{name}_change"),
        ]

    @method_decorator([transaction.non_atomic_requests, require_safe])
    def show_row(self, request: HttpRequest, object_id: str = "1") -> HttpResponse:
        """Show the page. `?change=NAME` opens the dialog of that change, even without scripts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if object_id != "1":
            raise Http404
        return self._page(request, opened=request.GET.get("change"))

    @method_decorator([transaction.non_atomic_requests])
    def apply_or_sign_in(self, request: HttpRequest, change_name: str) -> HttpResponse:
        """Like `apply`, but after a sign-in return to the open dialog, not to a URL that accepts only POST."""
        try:
            is_signed_in = self.admin_site.has_permission(request)
            actor_of(request.user)
        except Error:
            # Say plainly that nothing was done: execution continues once the database is back.
            return error_pages.answer(request, NotAppliedError(NOTHING_DONE))
        if not is_signed_in:
            return redirect_to_login(f"{self._url}?{urlencode({'change': change_name})}", reverse("admin:login"))
        response: HttpResponse = self.admin_site.admin_view(self.apply)(request, change_name)
        return response

    def apply(self, request: HttpRequest, change_name: str) -> HttpResponse:
        """Make a change. If refused, show the page again with the dialog open, the input preserved and the reason."""
        change = CHANGES.get(change_name)
        if change is None or change.subject != self.subject:
            raise Http404
        if request.method != "POST":
            return self._refuse_method(request)
        reason, fields = read_form(change, request.POST)
        actor = actor_of(request.user)
        try:
            done = apply_change(
                change, actor=actor, reason=reason, channel=Channel.ADMIN, fields=fields, origin=origin_of(request)
            )
        except (RefusedError, StateUnknownError, NotAppliedError, OutcomeUnknownError) as error:
            return self._answer_failure(request, change_name, error)
        decision = decide(done.go_live)
        is_stop = change.direction is Direction.SAFE
        permits = f" {representations.permits_outstanding(done.permits_outstanding)}" if is_stop else ""
        if done.changed:
            messages.success(request, f"{change.label}: done. {decision.message if done.go_live else ''}{permits}")
        else:
            messages.info(request, f"{change.already} Your request was recorded.{permits}")
        for remark in done.notes_on_request:
            messages.warning(request, f"Your {remark}.")
        return HttpResponseRedirect(self._url)

    @property
    def _url(self) -> str:
        return reverse(f"admin:golive_{self.opts.model_name}_changelist")

    def _refuse_method(self, request: HttpRequest) -> HttpResponse:
        """Show the page without doing anything, for a user who follows or reloads the URL of a change."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        messages.warning(request, "Nothing was done: a change is made with its button.")
        response = self._page(request, status=HTTPStatus.METHOD_NOT_ALLOWED)
        response["Allow"] = "POST"
        return response

    def _answer_failure(self, request: HttpRequest, change_name: str, error: GoLiveError) -> HttpResponse:
        if isinstance(error, UnavailableError):
            logger.error("a change was not made: %s", error.describe())
        if not self.has_view_permission(request):
            return error_pages.answer(request, error)
        # Do not run the checklist on a database that has just failed: the answer must come within 5 s.
        with_checklist = isinstance(error, RefusedError)
        return self._page(
            request, opened=change_name, error=error, status=problems.status_of(error), with_checklist=with_checklist
        )

    def _page(
        self,
        request: HttpRequest,
        *,
        opened: str | None = None,
        error: GoLiveError | None = None,
        status: int = HTTPStatus.OK,
        with_checklist: bool = True,
    ) -> HttpResponse:
        go_live, system = _read(singletons.read_go_live), _read(singletons.read_system)
        row = go_live if self.subject == GO_LIVE_STATE else system
        permissions = actor_of(request.user).permissions
        checklist = shared_runs.read_checklist() if with_checklist else None
        failing = checklist.failed if checklist else ()
        if isinstance(error, ChecklistFailedError):
            # The change ran the checklist itself, so it may know more than the shared run.
            failing = tuple({result.id: result for result in (*failing, *error.failed)}.values())
        dialogs = make_dialogs(
            self.subject, permissions, row, failing=failing, opened=opened, posted=request.POST, error=error
        )
        if error is not None and not any(dialog.is_open and dialog.is_permitted for dialog in dialogs):
            messages.error(request, error.detail)  # there is no dialog to show it in
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name).capitalize(),
            "opts": self.opts,
            "subject": self.subject,
            "row": row,
            "revision": f"{go_live.revision if go_live else ''}.{system.revision if system else ''}",
            "decision": decide(go_live),
            "unknown": decide(None),
            "dialogs": dialogs,
            "checklist": checklist,
            "events": history.read_recent(self.subject, limit=RECENT_EVENTS),
            "can_see_record": request.user.has_perm("golive.view_event"),
            "page_url": self._url,
            "apply_url_name": f"admin:golive_{self.opts.model_name}_apply",
        }
        return TemplateResponse(request, "admin/golive/singleton.html", context, status=status)


def _read(read: Callable[[], Row]) -> Row | None:
    try:
        return read()
    except StateUnknownError:
        return None


@admin.register(GoLiveState)
class GoLiveStateAdmin(SingletonAdmin):
    subject = GO_LIVE_STATE


@admin.register(SystemMetadata)
class SystemMetadataAdmin(SingletonAdmin):
    subject = SystemMetadata._meta.db_table
