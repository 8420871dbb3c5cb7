"""A client's address never comes from a header that the client wrote itself."""

from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from vyry.limits import network_key
from web.app_keys import SETTINGS
from web.auth import client_address


TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def asking(peer: str, headers: list[tuple[str, str]], header: str = "x-forwarded-for") -> web.Request:
    app = web.Application()
    app[SETTINGS] = SimpleNamespace(trusted_proxies=TRUSTED, forwarded_header=header)  # type: ignore[misc]  # the only settings that are read
    return make_mocked_request("GET", "/", headers=headers, app=app).clone(remote=peer)


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
        # Spoofed: the client's own entries are left of what the proxy appends.
        ("10.0.0.1", ["127.0.0.1, 10.0.0.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.9", "10.0.0.8", "198.51.100.1"], "198.51.100.1"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        ("203.0.113.9", ["127.0.0.1, 10.0.0.1"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, rubbish, 10.0.0.2"], "10.0.0.2"),
        # IPv6, in any spelling, mapped or not, trusted or not.
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", ["2001:DB8:0:0:0:0:0:7"], "2001:db8::7"),
        ("2001:db8::9", ["2001:db8::7"], "2001:db8::9"),
        ("fd00::1", ["2001:db8::7, fd00::2, ::ffff:10.0.0.2"], "2001:db8::7"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("::ffff:a00:1", ["198.51.100.1"], "198.51.100.1"),
        # As proxies write them: with a port, in brackets, in quotes.
        ("10.0.0.1", ["198.51.100.1:5000"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ['"[2001:db8::7]:443"'], "2001:db8::7"),
        ("10.0.0.1", ['"198.51.100.1"'], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:5000, 10.0.0.2:80"], "198.51.100.1"),
        ("10.0.0.1", ["[::ffff:198.51.100.1]:5000"], "198.51.100.1"),
        # Garbage: hops left of it are ignored.
        ("10.0.0.1", ["198.51.100.1:500000"], "10.0.0.1"),
        ("10.0.0.1", ["[198.51.100.1"], "10.0.0.1"),
        ("10.0.0.1", ["_hidden"], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", [", ,"], "10.0.0.1"),
        ("10.0.0.1", ["198.051.100.1"], "10.0.0.1"),
        ("10.0.0.1", ["3325256705"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.0/24"], "10.0.0.1"),
        ("10.0.0.1", ["localhost"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1", ""], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["10.0.0.5"] * 500)], "10.0.0.5"),
    ],
)
def test_the_right_most_hop_that_nobody_trusts_is_the_client(peer: str, forwarded: list[str], address: str) -> None:
    request = asking(peer, [("X-Forwarded-For", line) for line in forwarded])

    assert client_address(request) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["for=198.51.100.1"], "198.51.100.1"),
        (['For="[2001:db8::7]:4711";proto=https;by=203.0.113.43'], "2001:db8::7"),
        (["for=1.1.1.1, for=198.51.100.1:80;host=chat.example.org, for=10.0.0.2"], "198.51.100.1"),
        (["for=1.1.1.1", "for=198.51.100.1"], "198.51.100.1"),
        (["for=unknown"], "10.0.0.1"),
        (["for=_secret"], "10.0.0.1"),
        (["by=198.51.100.1"], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_header_of_rfc_7239_is_read_where_the_settings_name_it(forwarded: list[str], address: str) -> None:
    headers = [*(("Forwarded", line) for line in forwarded), ("X-Forwarded-For", "1.2.3.4")]

    assert client_address(asking("10.0.0.1", headers, "forwarded")) == address


def test_a_hop_that_cannot_be_read_is_one_line_in_the_log_for_each_proxy() -> None:
    with capture_logs() as lines:
        for proxy in ("10.0.0.77", "10.0.0.77", "203.0.113.9", "10.0.0.78"):
            client_address(asking(proxy, [("X-Forwarded-For", "rubbish")]))

    assert [(line["event"], line["proxy"]) for line in lines] == [
        ("forwarded_header_unreadable", "10.0.0.77"),
        ("forwarded_header_unreadable", "10.0.0.78"),
    ]
    assert "rubbish" not in str(lines)


@pytest.mark.parametrize("name", ["Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Via"])
def test_no_other_header_is_believed(name: str) -> None:
    request = asking("10.0.0.1", [(name, "for=198.51.100.9"), (name, "198.51.100.9"), ("X-Forwarded-For", "1.2.3.4")])

    assert client_address(request) == "1.2.3.4"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_party_is_an_address_or_all_it_can_call_its_own(address: str, counted: str) -> None:
    assert network_key(address) == counted
