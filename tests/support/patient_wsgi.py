"""The service with the checks' limits of the tests, so that none fails because the machine is busy."""

from __future__ import annotations

from tests.support.patience import find_patient_limits
from valhalla.wsgi import application

__all__ = ["application"]

for _holder, _name, _limit in find_patient_limits():
    _holder[_name] = _limit
