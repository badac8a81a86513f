from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.core.signals import request_finished

from golive import require_app

# Before anything is imported that would fail with a less helpful error.
require_app()


class GoLiveConfig(AppConfig):
    name = "golive"
    verbose_name = "Go-live"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Imported for their side effects: the checks register themselves and are shown in this order.
        for module in ("checks", "readiness.checks", "controls.checks", "identity.checks"):
            import_module(f"golive.{module}")
        from golive.identity.tokens import note_use
        from golive.web.request_id import forget_request_id

        request_finished.connect(note_use, dispatch_uid="golive.identity.tokens")
        # Last: what the other receivers log still belongs to the request.
        request_finished.connect(forget_request_id, dispatch_uid="golive.web.request_id")
