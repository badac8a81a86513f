from __future__ import annotations

from django.urls import path

from tests.bench.project import views

urlpatterns = [
    path("empty", views.answer_nothing),
    path("orm", views.read_row),
    path("flag", views.read_flag),
    path("decision", views.read_decision),
    path("set/<slug:to>", views.set_flags),
]
