"""What nobody reaches by naming an endpoint: the node's own network, written in whatever way, resolved to whatever, changed in between."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from tests.support.fake_clock import FakeClock
from tests.support.push_server import PushServer, open_push_server
from tests.support.sms_provider_server import respond_with
from vyry.delivery.push.outbound import ForbiddenAddress, public_only_session
from vyry.delivery.push.web_push import WebPusher
from vyry.devices.endpoints import EndpointPolicy, is_public
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushResult


PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
PRIVATE = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *(
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.254",
        "192.0.0.8",
        "192.88.99.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.7",
    ),
    *("203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "2001:db8::1"),
    *("fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "100::1", "5f00::1"),
    # No addresses at all, but whoever resolves them makes some.
    *(
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "localhost",
        "",
        "1.1.1.1.",
    ),
]
#: What stands in an endpoint; each of them would get to 127.0.0.1, or to another machine of the operator's.
ENDPOINTS = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "017700000001", "localhost", "localhost."),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", "[fe80::1]"),
    *("example.org@127.0.0.1", "127.0.0.1#.example.org", "%31%32%37.0.0.1", "127。0。0。1"),
]
Resolve = Callable[..., Awaitable[list[tuple[object, ...]]]]


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server() as opened:
        yield opened


@pytest.mark.parametrize("host", PUBLIC)
def test_what_is_routed_on_the_internet_is_public(host: str) -> None:
    assert is_public(host)


@pytest.mark.parametrize("host", PRIVATE)
def test_everything_else_is_not(host: str) -> None:
    assert not is_public(host)


@pytest.mark.parametrize("host", ENDPOINTS)
async def test_no_way_to_write_an_endpoint_gets_into_the_network(services: PushServer, host: str) -> None:
    pusher = WebPusher(None, FakeClock(), EndpointPolicy())
    port = services.url.rpartition(":")[2]

    for place in (f"{host}:{port}", host):
        target = PushTarget(PushKind.UNIFIEDPUSH, f"http://{place}/push/ann")
        assert (await pusher.push(target, is_urgent=True)).result is PushResult.LATER
    await pusher.close()

    assert services.request_count == 0


def resolving(*addresses: str) -> Resolve:
    """A name server that answers these, one after the other, and then the last of them."""
    rest = list(addresses)

    async def look_up(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
        address = rest.pop(0) if len(rest) > 1 else rest[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        place = (address, port, 0, 0) if ":" in address else (address, port)
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)]

    return look_up


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "169.254.169.254"])
async def test_a_name_that_resolves_into_the_network_is_not_reached(
    services: PushServer, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolving(address))
    async with public_only_session(1) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as failure:
            await session.post(f"http://push.example:{services.url.rpartition(':')[2]}/push/ann")

    assert isinstance(failure.value.os_error, ForbiddenAddress)
    assert services.request_count == 0


async def test_a_name_that_changes_its_mind_is_judged_by_what_is_connected_to(
    services: PushServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[object] = []
    loop = asyncio.get_running_loop()

    async def connect(_: object, address: object) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(loop, "getaddrinfo", resolving("93.184.216.34", "127.0.0.1"))
    monkeypatch.setattr(loop, "sock_connect", connect)
    async with public_only_session(1) as session:
        for _ in range(3):
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("http://push.example:443/push/ann")

    assert connected == [("93.184.216.34", 443)]
    assert services.request_count == 0


async def test_only_the_port_of_https_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolving("93.184.216.34"))
    async with public_only_session(1) as session:
        for port in (22, 80, 6379, 8443):
            with pytest.raises(aiohttp.ClientConnectorError) as failure:
                await session.post(f"https://push.example:{port}/")
            assert isinstance(failure.value.os_error, ForbiddenAddress)


async def test_a_redirect_into_the_network_is_not_followed(services: PushServer) -> None:
    pusher = WebPusher(None, FakeClock(), EndpointPolicy(frozenset({"127.0.0.1"})))
    async with open_push_server() as inside:
        services.fault = respond_with(308, b"", Location=f"{inside.url}/push/ann")
        found = await pusher.push(PushTarget(PushKind.UNIFIEDPUSH, f"{services.url}/push/ann"), is_urgent=True)
    await pusher.close()

    assert (found.result, inside.request_count) == (PushResult.REFUSED, 0)


async def test_the_operators_own_push_server_is_reached_where_it_is(services: PushServer) -> None:
    pusher = WebPusher(None, FakeClock(), EndpointPolicy(frozenset({services.url.removeprefix("http://")})))

    found = await pusher.push(PushTarget(PushKind.UNIFIEDPUSH, f"{services.url}/push/ann"), is_urgent=True)
    await pusher.close()

    assert (found.result, services.request_count) == (PushResult.SENT, 1)
