"""Users, signed in or not: factories for tests that need the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

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
    """A staff user in these groups, with these additional permissions (`golive.release_kill_switch`).

    Has no password by default, since hashing is slow: use `sign_in`.
    """
    user = User.objects.create_user(username, password=password, is_staff=is_staff, is_superuser=is_superuser)
    user.groups.set(Group.objects.get(name=name) for name in groups)
    for permission in permissions:
        label, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    return user


def sign_in(user: User, **options: Any) -> Client:
    """A client with a signed-in user. An exception in a view becomes a response, as on a server."""
    client = Client(raise_request_exception=False, **options)
    client.force_login(user)
    return client
