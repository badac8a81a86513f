from __future__ import annotations

import os
from typing import Any

from valhalla.settings import *  # noqa: F403 - the point is to have all of them
from valhalla.settings import INSTALLED_APPS as _APPS

PEER = os.environ.get("BENCH_PEER", "")
ROOT_URLCONF = "tests.bench.project.urls"
WSGI_APPLICATION = "tests.bench.project.wsgi.application"

INSTALLED_APPS = [*_APPS, *{"": (), "constance": ("constance",)}.get(PEER, ("waffle",))]
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "django.core.cache.backends.dummy.DummyCache"
        if PEER == "waffle-uncached"
        else "django.core.cache.backends.locmem.LocMemCache"
    }
}
CONSTANCE_BACKEND = "constance.backends.database.DatabaseBackend"
CONSTANCE_CONFIG = {
    "GO_LIVE_ENABLED": (False, "Whether go-live is enabled", bool),
    "KILL_SWITCH_ENGAGED": (True, "Whether the kill switch is engaged", bool),
}
