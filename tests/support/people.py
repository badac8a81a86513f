"""People with accounts, and what they do: the makers for tests that need the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from golive.controls.apply import apply_change
from golive.domain.changes import CHANGES, Acknowledgement, Channel
from tests.support.factories import make_actor

OPERATORS, RELEASE_MANAGERS = "Operators", "Release managers"
OVERRIDE = "golive.override_checklist"


def make_user(
    username: str = "maria",
    *,
    groups: Iterable[str] = (),
    permissions: Iterable[str] = (),
    is_staff: bool = True,
    is_superuser: bool = False,
    password: str | None = None,
) -> User:
    """Somebody of the staff in these groups, with these further permissions (`golive.release_kill_switch`).

    Without a password, which takes long to hash, they sign in by `sign_in` only.
    """
    user = User.objects.create_user(username, password=password, is_staff=is_staff, is_superuser=is_superuser)
    user.groups.set(Group.objects.get(name=name) for name in groups)
    for permission in permissions:
        label, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    return user


def sign_in(user: User, **options: Any) -> Client:
    """A client in which somebody is signed in. It hands back the answer to an exception, as a server does."""
    client = Client(raise_request_exception=False, **options)
    client.force_login(user)
    return client


def make_change(name: str, *, reason: str = "It is time.", actor: str = "bea", **fields: object) -> Acknowledgement:
    """Make a change of the table, past the web, by somebody who may do everything."""
    return apply_change(CHANGES[name], actor=make_actor(actor), reason=reason, channel=Channel.CLI, fields=fields)


def go_live() -> None:
    """Take the system live, as it is done: complete, release, enable."""
    for name in ("complete", "release", "enable"):
        make_change(name)
