"""What a program decides that asks with OpenFeature's own client: while all is well, and while nothing is.

An error makes the client take the default of the call. Whoever asks must therefore name the safe one.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from golive.domain.flags import SAFE_VALUES
from tests.api.service import Service, running_service
from tests.support.patience import ends_within
from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, find_free_port

# Once: what the client does cannot depend on the database, but to take that away needs one that can be stopped.
pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

ALLOWED = "execution-allowed"
LIVE = {key: not safe for key, safe in SAFE_VALUES.items()}
# What every call should name, and what none should.
DEFAULTS = {"safe": SAFE_VALUES, "unsafe": LIVE}


def connect(url: str, *, headers: dict[str, str] | None = None, timeout: float = 5.0) -> OpenFeatureClient:
    """OpenFeature's client, asking the service at `url`."""
    provider = OFREPProvider(url, headers_factory=(lambda: headers) if headers else None, timeout=timeout)
    domain = secrets.token_hex(4)  # each its own: one domain has one provider
    api.set_provider_and_wait(provider, domain=domain)
    return api.get_client(domain=domain)


def ask_all(client: OpenFeatureClient, defaults: dict[str, bool]) -> dict[str, bool]:
    return {key: client.get_boolean_value(key, default) for key, default in defaults.items()}


@pytest.fixture(autouse=True)
def no_provider_stays() -> Iterator[None]:
    yield
    api.shutdown()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        yield running


@pytest.mark.parametrize("defaults", DEFAULTS.values(), ids=DEFAULTS.keys())
def test_client__all_is_well__sees_the_state_whatever_the_default(service: Service, defaults: dict[str, bool]) -> None:
    client = connect(service.server.url())
    service.allow_execution()
    live = ask_all(client, defaults)
    for name in ("engage", "disable", "reopen"):
        assert service.call(name).status == 200

    assert live == LIVE
    assert ask_all(client, defaults) == SAFE_VALUES


def test_client__all_is_well__is_told_why(service: Service) -> None:
    service.call("engage")

    found = connect(service.server.url()).get_boolean_details(
        ALLOWED, True, EvaluationContext("payments", {"amount": 12.5})
    )

    assert (found.value, found.variant, found.reason, found.error_code) == (False, "off", Reason.TARGETING_MATCH, None)
    assert found.flag_metadata["code"] == "KILL_SWITCH_ENGAGED"


def test_client__reads_ask_for_credentials__shows_its_token() -> None:
    with running_service(workers=1, GOLIVE_READ_TOKEN_REQUIRED="true") as closed:
        token = closed.token("read")
        shown = [{"Authorization": f"Bearer {token}"}, {"X-API-Key": token}, None]
        clients = [connect(closed.server.url(), headers=headers) for headers in shown]
        found = [client.get_boolean_details(ALLOWED, True) for client in clients]

    assert [(details.value, details.error_code) for details in found[:2]] == [(False, None)] * 2
    # Nobody is refused, so it is the default of the call: here the wrong one.
    assert (found[2].value, found[2].error_code) == (True, ErrorCode.GENERAL)


def test_client__unknown_flag__takes_its_default(service: Service) -> None:
    found = connect(service.server.url()).get_boolean_details("no-such-flag", True)

    assert (found.value, found.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)


@pytest.mark.parametrize("default", [False, True])
def test_client__service_down_or_hanging__takes_its_default(default: bool) -> None:
    """No server can do anything about it, so the default must be the safe one."""
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        hanging = connect(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.3)
        down = connect(f"http://127.0.0.1:{find_free_port()}", timeout=0.3)

        found = [client.get_boolean_details(ALLOWED, default) for client in (hanging, down)]

    assert [details.value for details in found] == [default] * 2
    assert [details.error_code for details in found] == [ErrorCode.GENERAL] * 2


def test_client__database_gone_or_hanging__is_told_the_safe_values() -> None:
    """Whatever the default: the service answers. Also with a token, which nobody can look up then."""
    with PostgresServer() as postgres, running_service(database_url=postgres.create_database("flags")) as service:
        clients = [
            connect(service.server.url(), headers=headers) for headers in (None, {"X-API-Key": service.token("read")})
        ]
        service.allow_execution()
        live = [ask_all(client, SAFE_VALUES) for client in clients]
        postgres.freeze()
        time.sleep(1)  # longer than a lease
        with ends_within(3 * len(clients)):
            frozen = [client.get_boolean_details(ALLOWED, True) for client in clients]
        postgres.thaw()
        postgres.kill()
        time.sleep(1)
        gone = [ask_all(client, defaults) for client in clients for defaults in DEFAULTS.values()]
        details = clients[0].get_boolean_details(ALLOWED, True)
        postgres.start_again()
        again = [ask_all(client, SAFE_VALUES) for client in clients]

    assert live == again == [LIVE] * 2
    assert [(each.value, each.error_code) for each in frozen] == [(False, None)] * 2
    assert gone == [SAFE_VALUES] * 4
    assert (details.reason, details.flag_metadata) == (Reason.UNKNOWN, {"code": "STATE_UNKNOWN"})


def test_document__example__runs_and_decides(service: Service) -> None:
    (example,) = re.findall(
        r"```python\n(.*?openfeature.*?)```", (ROOT / "docs/consumers/openfeature.md").read_text(), re.DOTALL
    )
    code = example.replace("https://valhalla.example.com", service.server.url("")).replace(
        "vgl_...", service.token("read")
    )
    decided: dict[str, bool] = {}
    for name in ("engage", "complete", "release", "enable"):
        assert service.call(name, reason="It is time.").status == 200
        names: dict[str, Any] = {}
        exec(code, names)
        decided[name] = names["is_allowed"]

    assert decided == {"engage": False, "complete": False, "release": False, "enable": True}
