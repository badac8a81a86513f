from __future__ import annotations

from django.apps import AppConfig


class GoLiveConfig(AppConfig):
    name = "golive"
    verbose_name = "Go-live"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # For its effect: the checks register themselves.
        from golive import checks  # noqa: F401
