from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from golive.identity.sign_in import SignInForm, sign_in
from golive.middleware import golive_exempt

admin.site.site_header = "Valhalla go-live"
admin.site.site_title = "Valhalla go-live"
admin.site.index_title = "Controls"
admin.site.login_form = SignInForm

urlpatterns = [
    re_path(r"^admin$", golive_exempt(RedirectView.as_view(pattern_name="admin:index"))),
    # Replaces the admin's own view at the same path.
    path("admin/login/", sign_in),
    path("admin/", admin.site.urls),
    path("", include("golive.urls")),
]

handler400 = "golive.web.error_pages.handle_bad_request"
handler403 = "golive.web.error_pages.handle_forbidden"
handler404 = "golive.web.error_pages.handle_not_found"
handler500 = "golive.web.error_pages.handle_server_error"
