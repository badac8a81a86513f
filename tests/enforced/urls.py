import functools
from typing import Any

from django.contrib import admin
from django.contrib.staticfiles.views import serve as serve_static
from django.urls import URLPattern, URLResolver, include, path
from django.views.static import serve

from golive.console.status_page import show_status
from golive.web.enforcement import golive_exempt
from tests.enforced import views


class Site(admin.AdminSite):
    """Adds a page of its own, as Django's documentation shows it."""

    def get_urls(self) -> list[Any]:
        return [path("report/", self.admin_view(views.pay)), *super().get_urls()]


second_site = Site(name="second")

# What executes, under paths that look like something exempt.
GUARDED: list[URLPattern] = [
    path("pay", views.pay),
    path("pay/decorated", views.pay_decorated),
    path("pay/async", views.pay_async),
    path("pay/class", views.Pay.as_view()),
    path("pay/partial", functools.partial(views.pay, amount=1)),
    path("pay/fail", views.pay_and_fail),
    path("pay/streaming", views.pay_streaming),
    path("admin-of-something/pay", views.pay),
    path("administration", views.pay),
    path("golive/pay", views.pay),
    path("api/status/pay", views.pay),
    path("api/governance/pay", views.pay),
    path("health/pay", views.pay),
    path("gatekeeper", views.pay),
    path("static-pay", views.pay),
    path("opened", views.pay),
    path("look/inside", views.pay_marked_inside),
    path("look/subclass", views.PayAfterLook.as_view()),
    path("look/dispatched", views.PayDispatched.as_view()),
    path("look/wrapped", views.paying(views.look)),
    path("look/wrapped-class", views.paying(views.Look.as_view())),
    path("health/wrapped", views.paying(show_status)),
    path("files-wrapped/<path:path>", views.paying(serve), {"document_root": "tests/enforced"}),
]
# Nothing in a namespace that is called as the admin's is proves that an AdminSite made it.
BACKOFFICE = [
    path("pay/", views.pay),
    path("login/", views.paying(admin.site.login)),
    path("jsi18n/", views.pay, name="jsi18n"),
]
EXEMPT: list[URLPattern] = [
    path("look", views.look),
    path("look/async", views.look_async),
    path("look/class", views.Look.as_view()),
    path("look/async-class", views.LookAsync.as_view()),
    path("look/as-view", golive_exempt(views.Pay.as_view())),
    path("look/pay", golive_exempt(views.pay)),
    path("open/pay", views.pay),
    path("files/<path:path>", serve, {"document_root": "tests/enforced"}),
]
urlpatterns: list[URLPattern | URLResolver] = [
    *GUARDED,
    path("shop/", include(([path("pay", views.pay)], "golive-shop"), namespace="golive-shop")),
    path("backoffice/", include((BACKOFFICE, "admin"), namespace="backoffice")),
    path("extended/", include(([*BACKOFFICE[:1], *admin.site.get_urls()], "admin"), namespace="extended")),
    *EXEMPT,
    path("permitted/pay", views.pay_if_permitted),
    path("alive", views.alive),
    # Under paths of this project's choice: what is exempt is the view.
    path("room/", admin.site.urls),
    path("second/", second_site.urls),
    path("control/", include("golive.urls")),
    path("static/<path:path>", serve_static, {"insecure": True}),
]
