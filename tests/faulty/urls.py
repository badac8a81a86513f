from typing import cast

from django.urls import URLPattern, URLResolver, path
from django.views.decorators.csrf import csrf_exempt

from tests.faulty import views
from valhalla import urls as project
from valhalla.urls import handler400, handler403, handler404, handler500

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns: list[URLPattern | URLResolver] = [
    path("faulty/write/<str:mark>", csrf_exempt(views.write)),
    path("faulty/count/<str:mark>", csrf_exempt(views.count)),
    path("faulty/raise/<str:mark>", csrf_exempt(views.write_and_raise)),
    path("faulty/not-found/<str:mark>", csrf_exempt(views.write_and_raise_not_found)),
    path("faulty/refuse/<int:status>/<str:mark>", csrf_exempt(views.write_and_refuse)),
    path("faulty/broken/<int:status>/<str:mark>", csrf_exempt(views.write_and_break_a_statement)),
    path("faulty/savepoint/<str:mark>", csrf_exempt(views.write_and_break_a_savepoint)),
    path("faulty/terminated/<str:mark>", csrf_exempt(views.write_and_lose_the_connection)),
    path("faulty/terminated/<int:status>/<str:mark>", csrf_exempt(views.write_and_lose_the_connection)),
    path("faulty/commit/<str:mark>", csrf_exempt(views.write_what_fails_at_commit)),
    path("faulty/template/<str:mark>", csrf_exempt(views.write_and_render_a_broken_template)),
    *cast(list[URLPattern | URLResolver], project.urlpatterns),
]
