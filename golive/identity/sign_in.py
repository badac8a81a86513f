"""Signing in with a password, protected against guessing and against exhausting threads or CPU by attempts.

Hashing a password deliberately takes some tenths of a second of CPU time, and anyone can trigger it. So only a few run
at a time, and none for a client that has failed too often. An existing session needs none of this.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse

from golive.identity import throttle
from golive.identity.actors import client_address
from golive.web import error_pages
from golive.web.enforcement import golive_exempt
from golive.web.problems import HttpError

logger = logging.getLogger(__name__)

# Concurrent password hashes per process. At most one per address, so that one client leaves the other to an operator.
MAX_HASHES = 2
BUSY_SECONDS = 2
BUSY = "Others are signing in at this moment. Go back and try again in a few seconds."


# Exempt from enforcement: an operator has to sign in before stopping anything, whatever the state.
@golive_exempt
@transaction.non_atomic_requests
def sign_in(request: HttpRequest) -> HttpResponse:
    """The admin's sign-in page with `SignInForm`. Not atomic: no transaction is open while a password is hashed."""
    try:
        return admin.site.login(request)
    except HttpError as error:
        return error_pages.answer(request, error)


class SignInForm(AdminAuthenticationForm):
    """The admin's form, for `AdminSite.login_form`. Raises HttpError 429 or 503 if the password is not checked."""

    def clean(self) -> dict[str, Any]:
        account = self.cleaned_data.get("username")
        if account is None or not self.cleaned_data.get("password") or self.request is None:
            return super().clean()
        address = client_address(self.request)
        with _hash_slot(address):
            seconds = throttle.count_sign_in(address, account)
            if seconds is not None:
                logger.warning("a sign-in from %s was not tried, after too many that failed", address)
                raise _locked_out(seconds)
            try:
                cleaned = super().clean()
            except ValidationError:
                logger.warning("failed sign-in from %s as %s", address, _describe(account))
                raise
        throttle.forgive_sign_in(address, account)
        return cleaned


def _locked_out(seconds: int) -> HttpError:
    wait = f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
    detail = f"Too many failed sign-ins for this name from your address. Try again in {wait}."
    return HttpError(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_FAILURES", detail, headers={"Retry-After": str(seconds)})


def _describe(account: str) -> str:
    """The name of an existing account; any other text may be a password typed into the wrong field."""
    try:
        is_known = get_user_model()._default_manager.filter(username=account).exists()
    except Error:
        return "an account that could not be looked up"
    return repr(account) if is_known else "an unknown account"


@contextmanager
def _hash_slot(address: str | None) -> Iterator[None]:
    """Inside the block a password may be hashed. Raises HttpError at once if no slot is free."""
    with _lock:
        if len(_hashing) >= MAX_HASHES or address in _hashing:
            headers = {"Retry-After": str(BUSY_SECONDS)}
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "NOT_APPLIED", BUSY, headers=headers)
        _hashing.add(address)
    try:
        yield
    finally:
        with _lock:
            _hashing.discard(address)


def _reset_after_fork() -> None:
    """A forked child has none of the threads that would finish a hash."""
    global _lock  # noqa: PLW0603 - a lock held by a thread of the parent is never released
    _lock = threading.Lock()
    _hashing.clear()


_lock = threading.Lock()
# The addresses for which a password is being hashed.
_hashing: set[str | None] = set()
os.register_at_fork(after_in_child=_reset_after_fork)
