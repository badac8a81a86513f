"""The address of a client, however a proxy writes it: one IP address, or none."""

from __future__ import annotations

import ipaddress

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from golive.identity.actors import client_address, read_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]:443", "fe80::1"),
        ("fe80::1%" + "x" * 5_000, "fe80::1"),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.9"),
        ("203.0.113.9:port", None),
        ("203.0.113.9:123456", None),
        ("203.0.113.999", None),
        ("[203.0.113.9", None),
        ("2001:db8::1]:443", None),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("1" * 5_000, None),
        ("٢٠٣.0.113.9", None),
        ("203.0.113.9\n", None),
    ],
)
def test_read_address__as_proxies_write_it(text: str, address: str | None) -> None:
    found = read_address(text)

    assert (found and str(ipaddress.ip_address(found))) == (address and str(ipaddress.ip_address(address)))


_zones = st.text(st.characters(exclude_characters=",]"), max_size=20)
_ports = st.none() | st.integers(0, 65_535)


@given(st.ip_addresses(v=4), _ports)
def test_read_address__any_ipv4__is_itself(address: ipaddress.IPv4Address, port: int | None) -> None:
    assert read_address(f"{address}" + ("" if port is None else f":{port}")) == str(address)


@given(st.ip_addresses(v=6), _ports, st.none() | _zones)
def test_read_address__any_ipv6__is_itself(address: ipaddress.IPv6Address, port: int | None, zone: str | None) -> None:
    text = f"{address}" + ("" if zone is None else f"%{zone}")
    assert read_address(text if port is None else f"[{text}]:{port}") == str(address)


@given(st.text(max_size=80) | st.text("0123456789abcdef.:[]%", max_size=60))
def test_read_address__anything__is_an_address_in_its_one_form_or_none(text: str) -> None:
    found = read_address(text)

    assert found is None or (str(ipaddress.ip_address(found)) == found and "%" not in found and len(found) <= 45)


def test_client_address__behind_a_proxy_that_writes_ports__is_told_apart(settings: object) -> None:
    settings.GOLIVE_TRUSTED_PROXIES = 1  # type: ignore[attr-defined]
    requests = RequestFactory()

    found = [
        client_address(requests.get("/", headers={"X-Forwarded-For": f"spoofed, {entry}"}))
        for entry in ("203.0.113.9:4711", "203.0.113.10:4711", "[2001:db8::1]:443")
    ]

    assert found == ["203.0.113.9", "203.0.113.10", "2001:db8::1"]
