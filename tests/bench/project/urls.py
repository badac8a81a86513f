from __future__ import annotations

from django.urls import include, path

from tests.bench.project import views
from valhalla import urls as project

_measures = [
    path("empty", views.answer_nothing),
    path("empty-endpoint", views.answer_nothing_at_once),
    path("orm", views.read_row),
    path("flag", views.read_flag),
    path("decision", views.read_decision),
    path("set/<slug:to>", views.set_flags),
]
# Reached as the service's own are: after the admin, by an include.
urlpatterns = [*project.urlpatterns[:2], path("", include(_measures))]
