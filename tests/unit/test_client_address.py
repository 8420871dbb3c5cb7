"""The address that asks is never what a client merely claims."""

from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from web.auth import client_address
from web.keys import SETTINGS


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1,10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["1.1.1.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], "::1"),
    ],
)
def test_the_right_most_hop_that_nobody_trusts_is_the_client(peer: str, forwarded: list[str], address: str) -> None:
    app = web.Application()
    app[SETTINGS] = SimpleNamespace(trusted_proxies=(ip_network("10.0.0.0/8"),))  # type: ignore[misc]  # all that is asked of the settings
    headers = [("X-Forwarded-For", line) for line in forwarded]

    request = make_mocked_request("GET", "/", headers=headers, app=app).clone(remote=peer)

    assert client_address(request) == address
