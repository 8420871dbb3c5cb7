"""Registering for push as clients meet it: what is taken, what is refused, and that it ends with the device."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.node_server import NodeServer
from tests.support.rest_device import Device, RequestRefused
from vyry.devices.endpoints import EndpointPolicy
from vyry.devices.push import PushKind, PushTarget, check_target
from vyry.errors import InvalidRequest
from vyry.storage.models import DeviceRow, PushTargetRow


PATH = "/devices/current/push"
POINT = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


WEBPUSH = {"kind": "webpush", "endpoint": "https://push.example/1", "p256dh": text(POINT), "auth": text(b"a" * 16)}
GOOD: list[dict[str, Any]] = [
    WEBPUSH,
    {**WEBPUSH, "endpoint": "https://push.example/x?y=z"},
    {"kind": "unifiedpush", "endpoint": "https://push.example/2"},
    {"kind": "fcm", "token": "t" * 200},
    {"kind": "apns", "token": "ab" * 32, "topic": "org.example.chat"},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({**WEBPUSH, "auth": None}, "auth"),
    ({**WEBPUSH, "auth": text(b"a" * 15)}, "auth"),
    ({**WEBPUSH, "p256dh": text(POINT[:-1])}, "p256dh"),
    ({**WEBPUSH, "p256dh": text(POINT[:-1] + bytes([POINT[-1] ^ 1]))}, "p256dh"),
    ({**WEBPUSH, "p256dh": text(b"\x02" + POINT[1:33])}, "p256dh"),
    ({**WEBPUSH, "token": "t"}, "token"),
    ({**WEBPUSH, "endpoint": "ftp://push.example/1"}, "endpoint"),
    ({**WEBPUSH, "endpoint": "https://user:word@push.example/"}, "endpoint"),
    ({**WEBPUSH, "endpoint": "https://push.example/#f"}, "endpoint"),
    ({**WEBPUSH, "endpoint": "https://push.example:99999/"}, "endpoint"),
    ({**WEBPUSH, "endpoint": "https://"}, "endpoint"),
    ({**WEBPUSH, "endpoint": "https://push.example/ 1"}, "endpoint"),
    ({"kind": "unifiedpush"}, "endpoint"),
    ({"kind": "fcm", "token": "t", "topic": "x"}, "topic"),
    ({"kind": "apns", "token": "t"}, "topic"),
    ({"kind": "pigeon", "token": "t"}, "kind"),
]


async def kept(device: Device) -> list[PushTargetRow]:
    row = await DeviceRow.get(account_id=device.user_id, device_id=device.device_id)
    return await PushTargetRow.filter(device=row.id)


@pytest.mark.parametrize("target", GOOD, ids=lambda target: str(target["kind"]))
async def test_a_device_registers_and_withdraws(sqlite_node_server: NodeServer, target: dict[str, Any]) -> None:
    device = await sqlite_node_server.node.sign_up()

    await device.call("PUT", PATH, target)
    (found,) = await kept(device)
    await device.call("DELETE", PATH)
    await device.call("DELETE", PATH)

    assert (found.kind, found.endpoint, found.token) == (target["kind"], target.get("endpoint"), target.get("token"))
    assert await kept(device) == []


@pytest.mark.parametrize(("target", "field"), BAD)
async def test_what_is_wrong_is_named(sqlite_node_server: NodeServer, target: dict[str, Any], field: str) -> None:
    device = await sqlite_node_server.node.sign_up()

    with pytest.raises(RequestRefused) as refused:
        await device.call("PUT", PATH, {name: value for name, value in target.items() if value is not None})

    assert (refused.value.status, refused.value.body["error_code"]) == (400, "INVALID_REQUEST")
    assert [each["field"] for each in refused.value.body["fields"]] == [field]
    assert await kept(device) == []


async def test_a_target_takes_the_place_of_the_one_before_and_ends_with_its_device(node_server: NodeServer) -> None:
    device = await node_server.node.sign_up()
    for target in GOOD:
        await device.call("PUT", PATH, target)

    assert [row.kind for row in await kept(device)] == ["apns"]

    await device.call("POST", "/auth/logout")
    assert await kept(device) == []


@pytest.mark.parametrize("place", ["push.example", "127.0.0.1:9", "127.0.0.1", "localhost:8001", "ntfy.lan:80"])
def test_in_clear_only_named_ports_of_this_machine_are_woken_by(place: str) -> None:
    own = EndpointPolicy(frozenset({"127.0.0.1:8443", "localhost:8443", "ntfy.lan:80"}))

    check_target(PushTarget(PushKind.UNIFIEDPUSH, "http://127.0.0.1:8443/push"), own)
    check_target(PushTarget(PushKind.UNIFIEDPUSH, "http://localhost:8443/push"), own)
    with pytest.raises(InvalidRequest):
        check_target(PushTarget(PushKind.UNIFIEDPUSH, f"http://{place}/push"), own)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "017700000001", "localhost", "localhost."),
        *(
            "a.localhost",
            "10.0.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "[::]",
            "[::1]",
            "[fe80::1]",
        ),
        *(
            "[::ffff:10.0.0.1]",
            "[2002:a00:1::]",
            "[64:ff9b::a00:1]",
            "[fd00::1]",
            "[fe80::1%25eth0]",
            "%31%32%37.0.0.1",
            "%6cocalhost",
        ),
        *("push.example:8443", "93.184.216.34:22", "push.example:0"),
    ],
)
def test_the_node_takes_no_endpoint_in_a_private_network(host: str) -> None:
    with pytest.raises(InvalidRequest):
        check_target(PushTarget(PushKind.UNIFIEDPUSH, f"https://{host}/push"), EndpointPolicy())


@pytest.mark.parametrize(
    "host",
    ["push.example", "push.example:443", "93.184.216.34", "[2606:4700:4700::1111]", "3.example", "ntfy.lan:8443"],
)
def test_the_node_takes_endpoints_on_the_internet_and_where_the_operator_allows_them(host: str) -> None:
    check_target(PushTarget(PushKind.UNIFIEDPUSH, f"https://{host}/push"), EndpointPolicy(frozenset({"ntfy.lan:8443"})))


@pytest.mark.parametrize(
    "endpoint", ["https://169.254.169.254/latest", "http://127.0.0.1:9/", "http://localhost:8001/metrics"]
)
async def test_a_node_answers_400_to_an_endpoint_inside_its_network(
    sqlite_node_server: NodeServer, endpoint: str
) -> None:
    device = await sqlite_node_server.node.sign_up()

    with pytest.raises(RequestRefused) as refused:
        await device.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": endpoint})

    assert (refused.value.status, [each["field"] for each in refused.value.body["fields"]]) == (400, ["endpoint"])


def test_no_secret_of_a_target_stands_in_its_text() -> None:
    assert "word" not in repr(PushTarget(PushKind.FCM, token="a word nobody else knows"))
