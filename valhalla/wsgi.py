"""What gunicorn serves: `gunicorn valhalla.wsgi:application`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from golive.gate import Gate

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "valhalla.settings")
application = Gate(get_wsgi_application())
