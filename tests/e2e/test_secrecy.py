"""What a node must not keep is searched for, byte by byte, wherever a node writes. It runs after all other tests and sees what they left."""

import asyncio
import base64
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from redis import Redis

from scripts.nodes import AllInOneProcess, Cluster
from scripts.services import postgres_program
from tests.e2e.conftest import MARKED_CONTENT
from tests.support.canaries import SECRET_FIELDS, FoundSecret, collect_secrets, long_secrets, scan, scan_plain_form
from tests.support.device_keys import DeviceKeys, base64_text
from tests.support.push_server import Subscription
from tests.support.rest_device import Body, Device, NodeClient, RequestRefused
from tests.support.traffic import Traffic
from vyry.mail.work_record import TOPIC


#: All that thousands of tests left is read, byte by byte: on a busy machine that takes a while.
pytestmark = pytest.mark.timeout(240)
#: Every place that is looked at.
PLACES = {"log", "metrics", "Redis", "Kafka", "log of PostgreSQL", "dump"}
#: A content that is acknowledged in the end: then it must not be in a database either.
CONTENT = b"a-plaintext-that-was-read-and-is-gone"
#: What goes from device to device through the node, and is taken once.
PROVISIONING = b"provisioning-for-the-new-device-alone"
OLD_PIN, PIN = "a-pin-that-was-forgotten", "a-pin-that-is-new"
#: Said with a mistake each, so that refusals are written too.
MISTAKES = (
    ("POST", "/auth/request-otp", {"phoneNumber": "+4915199990000123"}),
    ("POST", "/auth/refresh-token", {"refreshToken": "a-refresh-token-that-nobody-has-made", "attemptId": "x"}),
    ("PUT", "/devices/current/push", {"kind": "fcm", "endpoint": "https://push.example/a-place-for-fcm"}),
    ("PUT", "/devices/current/push", {"kind": "apns", "token": "a-token-that-is-no-hex-number", "topic": "a.b"}),
)


async def use_all_secrets(node: NodeClient) -> None:
    """Ann and Bo do whatever needs a secret, rightly and wrongly."""
    ann, bo = await node.sign_up(), await node.sign_up()
    together = await ann.open_direct(bo)
    for method, path, body in MISTAKES:
        with pytest.raises(RequestRefused):
            await ann.call(method, path, body)
    await ann.call("POST", "/auth/ws-ticket")
    await ann.call("GET", "/calls/relays")
    await ann.call("POST", "/auth/refresh-token", _refreshing(ann))
    await _guess_wrongly(node, bo)
    await _set_and_reset_pin(node, ann)
    await ann.post(together, bo, CONTENT)
    await bo.collect(wait=20)
    await bo.acknowledge()
    await _link(node, ann)
    await _invite(ann, bo)
    await _recover_and_join_wrongly(node, bo)
    await _sleep(bo)


async def _sleep(device: Device) -> None:
    """To be woken this way and that, and then no more: a target is kept in the database for as long as it is one."""
    firebase = {"kind": "fcm", "token": "a-registration-token-of-firebase"}
    for target in (firebase, Subscription("a-subscription-of-a-browser").registration_body("https://push.example")):
        await device.call("PUT", "/devices/current/push", target)
    await device.call("DELETE", "/devices/current/push")


async def _invite(ann: Device, bo: Device) -> None:
    """A link into a group, used once."""
    made = {"kind": "group", "memberIds": [], "sealedInfo": base64_text(b"title")}
    group = (await ann.call("POST", "/conversations", made))["conversationId"]
    invite = await ann.call("POST", f"/conversations/{group}/invites", {"maxUses": 2, "expiresInSeconds": 3600})
    await bo.call("POST", f"/invites/{invite['token']}/join")


async def _recover_and_join_wrongly(node: NodeClient, device: Device) -> None:
    """A recovery code that is good, and an invitation that is none."""
    await device.call("POST", "/account/recovery-code")
    joining = {"inviteToken": secrets.token_urlsafe(16), "device": {"name": "another", "platform": "cli"}}
    with pytest.raises(RequestRefused):
        await node.call("POST", "/auth/join", joining)


async def _guess_wrongly(node: NodeClient, device: Device) -> None:
    challenge = await node.call("POST", "/auth/request-otp", {"phoneNumber": device.number})
    described = {"name": "another", "platform": "cli"}
    with pytest.raises(RequestRefused):
        await node.call(
            "POST",
            "/auth/verify-otp",
            {"challengeId": challenge["challengeId"], "otp": "no-code-at-all", "device": described},
        )
    headers = {"Authorization": f"Bearer x{device.token}"}
    for query in (f"token={device.token}", f"phoneNumber={device.number[1:]}"):
        async with node.http.get(f"{node.url}/api/v1/devices?{query}", headers=headers) as answer:
            assert answer.status == 401


async def _set_and_reset_pin(node: NodeClient, device: Device) -> None:
    await device.call("PUT", "/account/pin", {"pin": OLD_PIN, "registrationLock": True})
    with pytest.raises(RequestRefused):
        await device.call("POST", "/account/pin/verify", {"pin": "a-pin-that-is-wrong"})
    asked = {"phoneNumber": device.number, "purpose": "pinReset"}
    challenge = await node.call("POST", "/auth/request-otp", asked)
    reset = {"challengeId": challenge["challengeId"], "otp": await node.latest_code(device.number), "newPin": PIN}
    await device.call("POST", "/account/pin/reset", reset)


async def _link(node: NodeClient, device: Device) -> None:
    """A new device from its QR to its session."""
    asked = {"publicKey": base64_text(bytes([9]) * 32), "name": "tablet", "platform": "cli"}
    link = await node.call("POST", "/devices/links", asked)
    path = f"/devices/links/{link['linkId']}"
    await device.call("POST", f"{path}/scan", {"publicKey": base64_text(bytes([10]) * 32)})
    provisioning = base64_text(PROVISIONING)
    await device.call("POST", f"{path}/approve", {"provisioning": provisioning, "pin": PIN})
    headers = {"X-Link-Secret": link["linkSecret"]}
    async with node.http.get(f"{node.url}/api/v1{path}", headers=headers) as answer:
        approved = await answer.json()
    keys = DeviceKeys(device.keys.identity).upload(1, 1)
    await node.call("POST", "/devices/links/complete", keys | {"linkToken": approved["linkToken"]})


def _refreshing(device: Device) -> Body:
    return {"refreshToken": device.session["refreshToken"], "attemptId": str(uuid.uuid4())}


def all_written_bytes(running_cluster: Cluster, kept_logs: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that nodes and services wrote, by place."""
    for node in running_cluster.nodes:
        yield "log", node.log().encode()
        yield "metrics", repr(node.metrics()).encode()
    for path in kept_logs.iterdir():
        yield "log", path.read_bytes()
    yield from (("Redis", value) for value in _redis(running_cluster))
    for path in (each for each in running_cluster.kafka.folder.rglob("*") if each.is_file()):
        # Kafka makes its files longer than what it writes into them.
        yield "Kafka", path.read_bytes().rstrip(b"\0")
    yield "log of PostgreSQL", (running_cluster.postgres.folder / "log").read_bytes()
    yield "dump", _dumped(running_cluster)


def _redis(running_cluster: Cluster) -> Iterator[bytes]:
    with Redis.from_url(running_cluster.redis.url) as redis:
        # A compressed value would hide what it holds.
        redis.config_set("rdbcompression", "no")
        for key in redis.scan_iter():
            yield key + b" " + (redis.dump(key) or b"")


def _dumped(running_cluster: Cluster) -> bytes:
    dump = [postgres_program("pg_dump"), "--dbname", running_cluster.postgres.url.replace("postgres:", "postgresql:")]
    return subprocess.run(dump, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def installation_secrets(running_cluster: Cluster) -> list[tuple[str, bytes]]:
    """The secrets of the installation itself."""
    environment = running_cluster.webs[0].environment
    pepper = Path(environment["VYRY_PEPPER_FILE"]).read_bytes()
    return [
        ("JWT secret", environment["JWT_SECRET"].encode()),
        ("pepper", pepper),
        ("content", CONTENT),
        ("provisioning", PROVISIONING),
    ]


async def test_nothing_secret_is_left_where_a_cluster_writes(
    running_cluster: Cluster, nodes: list[NodeClient], steady_traffic: Traffic, kept_logs: Path
) -> None:
    with collect_secrets() as fresh:
        for node in nodes:
            await use_all_secrets(node)
    await steady_traffic.wait_for_progress(100)
    assert await steady_traffic.stop_and_check() == []

    places = list(all_written_bytes(running_cluster, kept_logs))
    found = scan(installation_secrets(running_cluster) + fresh, places) | scan_plain_form(long_secrets(), places)

    assert found == set()
    assert {kind for kind, _ in fresh} >= {*SECRET_FIELDS.values()} - {"registration token"}
    assert {place for place, content in places if content} == PLACES


async def test_marked_contents_are_in_mailboxes_and_nowhere_else(
    running_cluster: Cluster, steady_traffic: Traffic, kept_logs: Path
) -> None:
    await steady_traffic.wait_for_progress(100)

    found = scan([("mark", MARKED_CONTENT.encode())], all_written_bytes(running_cluster, kept_logs))

    assert found <= {FoundSecret("mark", "dump")}
    assert await steady_traffic.stop_and_check() == []


async def test_nothing_secret_is_left_in_the_file_of_a_node_alone(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    with collect_secrets() as fresh:
        await use_all_secrets(NodeClient(http, all_in_one.url, all_in_one.otp_file))
    await asyncio.to_thread(all_in_one.stop)

    places = [(path.name, path.read_bytes()) for path in all_in_one.folder.rglob("vyry.db*")]
    places.append(("log", all_in_one.log().encode()))
    found = scan([*fresh, ("content", CONTENT), ("provisioning", PROVISIONING)], places)

    assert found == set()
    assert {place for place, content in places if content} >= {"vyry.db", "log"}


async def test_a_planted_secret_is_found_wherever_it_lies(running_cluster: Cluster, kept_logs: Path) -> None:
    """Keep this the last test of the file: what it plants stays."""
    planted = "+4915199990000999"
    (kept_logs / "planted").write_text(f"number={planted}", encoding="utf-8")
    with Redis.from_url(running_cluster.redis.url) as redis:
        redis.hset("planted", "field", base64.b64encode(b"two" + planted.encode()))
    producer = AIOKafkaProducer(bootstrap_servers=running_cluster.kafka.url.removeprefix("kafka://"))
    async with producer:
        await producer.send_and_wait(TOPIC, planted.encode(), partition=0)
    connection = await asyncpg.connect(running_cluster.postgres.url)
    await connection.execute("CREATE TABLE planted AS SELECT $1::bytea AS what", planted.encode())
    await connection.close()

    found = scan([("phone number", planted.encode())], all_written_bytes(running_cluster, kept_logs))

    assert {each.location for each in found} == {"log", "Redis", "Kafka", "dump"}
