"""API tokens in the admin: list, create (shown once) and revoke. A token is never edited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from golive.controls import token_changes
from golive.domain.changes import Channel
from golive.domain.errors import GoLiveError, InvalidRequestError
from golive.domain.scopes import scopes_within
from golive.identity import tokens
from golive.identity.actors import actor_of, origin_of
from golive.models import ApiToken
from golive.web import error_pages

REVOKE_PERMISSION = "golive.revoke_apitoken"
EXPIRY_DAYS = 90


class TokenForm(forms.Form):
    """The form for a new token. It offers only scopes that the creator's own permissions cover."""

    name = forms.CharField(max_length=64, help_text="Who will use it. The record shows it as token:NAME.")
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)
    expires = forms.IntegerField(
        label="Days until it expires",
        required=False,
        min_value=1,
        max_value=token_changes.MAX_EXPIRY.days,
        initial=EXPIRY_DAYS,
        help_text="Empty: never.",
    )

    def __init__(self, *args: Any, allowed: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes = self.fields["scopes"]
        assert isinstance(scopes, forms.MultipleChoiceField)  # noqa: S101 - for the type checker
        scopes.choices = [(scope, scope) for scope in allowed]


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "state", "scope_list", "created_by", "created", "expires", "last_used", "revoke_link")
    search_fields = ("name", "created_by")
    list_display_links = None
    actions = None
    list_per_page = 50

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return super().has_view_permission(request, obj) or self._can_revoke(request)

    def _can_revoke(self, request: HttpRequest) -> bool:
        return REVOKE_PERMISSION in actor_of(request.user).permissions

    def get_urls(self) -> list[URLPattern]:
        revoke = path(
            "<int:token_id>/revoke/", self.admin_site.admin_view(self.revoke_view), name="golive_apitoken_revoke"
        )
        offered = ("golive_apitoken_changelist", "golive_apitoken_add")
        return [revoke, *(each for each in super().get_urls() if getattr(each, "name", None) in offered)]

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return self.list_display if self._can_revoke(request) else self.list_display[:-1]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow none: the list has no filters, and `?secret_hash__startswith=` would leak a hash bit by bit."""
        return False

    # Not atomic: creating and revoking have their own transactions, which must be committed before the answer.
    @method_decorator([transaction.non_atomic_requests, sensitive_variables()])
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form; on POST, show the new token once: a reload does not bring it back."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        actor = actor_of(request.user)
        allowed = scopes_within(actor.permissions)
        form = TokenForm(request.POST if request.method == "POST" else None, allowed=allowed)
        made: tuple[ApiToken, str] | None = None
        if request.method == "POST" and form.is_valid():
            days = form.cleaned_data["expires"]
            try:
                made = token_changes.make_token(
                    form.cleaned_data["name"],
                    scopes=form.cleaned_data["scopes"],
                    actor=actor,
                    channel=Channel.ADMIN,
                    expires_in=None if days is None else timedelta(days=days),
                    origin=origin_of(request),
                )
            except InvalidRequestError as error:
                for fault in error.errors:
                    form.add_error(fault.field, f"It {fault.message}.")
            except GoLiveError as error:
                return error_pages.answer(request, error)
        response = self._page(request, "make_token.html", "Make an API token", form=form, made=made)
        response["Cache-Control"] = "no-store"
        return response

    @method_decorator(transaction.non_atomic_requests)
    def revoke_view(self, request: HttpRequest, token_id: int) -> HttpResponse:
        """Ask for confirmation; revoke on POST."""
        if not self._can_revoke(request):
            raise PermissionDenied
        token = ApiToken.objects.filter(pk=token_id).first()
        if token is None:
            raise Http404
        if request.method != "POST":
            return self._page(request, "revoke_token.html", "Revoke an API token", token=token)
        try:
            token_changes.revoke_token(
                token.pk, actor=actor_of(request.user), channel=Channel.ADMIN, origin=origin_of(request)
            )
        except GoLiveError as error:
            return error_pages.answer(request, error)
        messages.success(request, f"The token {token.name} is revoked: it is refused from now on, everywhere.")
        return HttpResponseRedirect(reverse("admin:golive_apitoken_changelist"))

    def _page(self, request: HttpRequest, template: str, title: str, **values: Any) -> TemplateResponse:
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, **values}
        return TemplateResponse(request, f"admin/golive/{template}", context)

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        return tokens.describe_state(token, now=datetime.now(UTC))

    @admin.display(description="scopes")
    def scope_list(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, token: ApiToken) -> str:
        return _show_time(token.created_at)

    @admin.display(description="expires (UTC)", ordering="expires_at")
    def expires(self, token: ApiToken) -> str:
        return _show_time(token.expires_at)

    @admin.display(description="last used (UTC)", ordering="last_used_at")
    def last_used(self, token: ApiToken) -> str:
        return _show_time(token.last_used_at)

    @admin.display(description="", empty_value="")
    def revoke_link(self, token: ApiToken) -> SafeString | str:
        if token.revoked_at is not None:
            return ""
        url = reverse("admin:golive_apitoken_revoke", args=[token.pk])
        return format_html('<a href="{}">Revoke<span class="visually-hidden"> {}</span></a>', url, token.name)


def _show_time(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M")
