"""The WSGI application: `gunicorn valhalla.wsgi:application`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from golive.admission import Admission
from golive.gate import Gate
from valhalla.environment import SERVER_THREADS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "valhalla.settings")
# Only the server knows how many threads this worker has (gunicorn.conf.py sets the variable).
_threads = int(os.environ.get("WSGI_THREADS", SERVER_THREADS))
application = Gate(Admission(get_wsgi_application(), threads=_threads))
