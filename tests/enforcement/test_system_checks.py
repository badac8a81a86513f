"""Django's checks of how a project has set up enforcement."""

from __future__ import annotations

from typing import Any

import pytest

from golive.checks import check_admin_namespace, check_enforcement

CORS = "corsheaders.middleware.CorsMiddleware"
OURS = "golive.middleware.GoLiveEnforcementMiddleware"
ELSEWHERE = "golive.web.enforcement.GoLiveEnforcementMiddleware"
ATOMIC = "golive.middleware.AtomicRequestMiddleware"
GONE = "no.such.Middleware"


@pytest.mark.parametrize(
    ("middleware", "ids"),
    [
        ([CORS, OURS, ATOMIC], []),
        ([CORS, ELSEWHERE, ATOMIC], []),
        ([OURS], []),
        ([GONE, OURS], []),
        ([CORS, ATOMIC], ["golive.E001"]),
        ([GONE], ["golive.E001"]),
        ([CORS, ATOMIC, OURS], ["golive.E002"]),
        ([OURS, CORS, ATOMIC], ["golive.W002"]),
        ([ATOMIC, OURS, CORS], ["golive.E002", "golive.W002"]),
    ],
)
def test_middleware__its_place__is_checked(settings: Any, middleware: list[str], ids: list[str]) -> None:
    settings.GO_LIVE_ENFORCE = True
    settings.MIDDLEWARE = middleware

    found = check_enforcement()

    assert [message.id for message in found] == ids
    assert all(message.hint for message in found)


@pytest.mark.parametrize(
    ("enforce", "app_env", "ids"),
    [
        (True, "development", ["golive.E001"]),
        (False, "production", []),
        (None, "production", ["golive.W001"]),
        (None, None, ["golive.W001"]),
        (None, "development", []),
    ],
)
def test_middleware__that_is_not_there__matters_where_it_should_enforce(
    settings: Any, enforce: bool | None, app_env: str | None, ids: list[str]
) -> None:
    settings.MIDDLEWARE = [CORS]
    for name, value in (("GO_LIVE_ENFORCE", enforce), ("APP_ENV", app_env)):
        if value is None:
            delattr(settings, name)
        else:
            setattr(settings, name, value)

    assert [message.id for message in check_enforcement()] == ids


@pytest.mark.parametrize(
    ("prefixes", "ids"),
    [
        ((), []),
        (["/open/", "/look"], []),
        ("/open/", []),
        (["open/"], ["golive.E003"]),
        (["/"], ["golive.E004"]),
        (["/open/../"], ["golive.E003"]),
    ],
)
def test_prefixes__that_exempt_nothing_or_all__are_told(settings: Any, prefixes: Any, ids: list[str]) -> None:
    settings.GOLIVE_EXEMPT_PREFIXES = prefixes

    assert [message.id for message in check_enforcement()] == ids


def test_namespace__called_as_the_admins__is_told_with_its_routes(settings: Any) -> None:
    settings.GO_LIVE_ENFORCE = True
    settings.ROOT_URLCONF = "tests.enforced.urls"

    (found,) = check_admin_namespace()

    assert found.id == "golive.W004"
    for route in ("backoffice/pay/", "backoffice/login/", "backoffice/jsi18n/", "extended/pay/"):
        assert route in found.msg
    for route in ("extended/login/", "room/", "second/"):
        assert route not in found.msg


@pytest.mark.parametrize("enforce", [True, False])
def test_settings__of_valhalla__pass(settings: Any, enforce: bool) -> None:
    settings.GO_LIVE_ENFORCE = enforce

    assert check_enforcement() == []
    assert check_admin_namespace() == []
