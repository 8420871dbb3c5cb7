"""A wake-up from the post to the browser that opens it, on both sizes; and mail that goes its way while push services hang."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from scripts.nodes import PUSH_PORT
from tests.support.device_socket import DeviceSocket
from tests.support.fake_clock import FakeClock
from tests.support.mail_store_harness import MailStoreHarness, RowRegistry
from tests.support.node_server import NodeServer, wait_until
from tests.support.push_server import PushServer, open_push_server
from tests.support.rest_device import Device
from tests.support.sms_provider_server import never_respond, respond_with
from tests.support.wake_harness import WakeHarness
from vyry.delivery.push.web_push_crypto import create_vapid_key
from vyry.kernel.ids import MailboxKey
from vyry.storage.models import DeviceRow, MailboxRow, PushTargetRow, PushWakeupRow
from vyry.storage.push import TortoiseWakeups


PATH = "/devices/current/push"


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server(PUSH_PORT) as opened:
        yield opened


@asynccontextmanager
async def waking(node_server: NodeServer) -> AsyncIterator[None]:
    """The wake-ups that the worker sends beside the mail."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node_server.services.push.wakeups.run())
        yield
        running.cancel()


async def planned(device: Device) -> list[PushWakeupRow]:
    row = await DeviceRow.get(account_id=device.user_id, device_id=device.device_id)
    return await PushWakeupRow.filter(device=row.id).exclude(due_at=None)


async def pass_time(node_server: NodeServer, **span: float) -> None:
    """Everything planned comes nearer."""
    url = node_server.settings.database_url.get_secret_value()
    mail = MailStoreHarness(url, node_server.services.mail_store, RowRegistry(), FakeClock())
    await WakeHarness(mail, TortoiseWakeups()).pass_time(**span)


async def eventually(claim: Callable[[], Awaitable[bool]]) -> None:
    """Come back when this has come true in the database."""
    for _ in range(1000):
        if await claim():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def until_planned(device: Device) -> None:
    async def is_planned() -> bool:
        return bool(await planned(device))

    await eventually(is_planned)


async def until_acknowledged(device: Device, seq: int) -> None:
    async def is_acknowledged() -> bool:
        row = await DeviceRow.get(account_id=device.user_id, device_id=device.device_id)
        return bool((await MailboxRow.get(id=row.mailbox)).acknowledged_seq == seq)

    await eventually(is_acknowledged)


async def test_mail_for_a_sleeping_device_wakes_it_with_nothing_to_read(
    node_server: NodeServer, services: PushServer
) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    subscription = services.subscribe()
    key = base64.b64decode((await bo.call("GET", "/push/vapid-key"))["publicKey"])
    await bo.call("PUT", PATH, subscription.registration_body(services.url))

    await ann.post(together, bo, b"a word between us")
    await until_planned(bo)
    await pass_time(node_server, seconds=4)
    async with waking(node_server):
        await wait_until(lambda: bool(services.pushed))

    (pushed,) = services.pushed
    assert (pushed.content, pushed.claims["k"], pushed.claims["aud"]) == (b"{}", key, services.url)
    said = f"{pushed.headers} {pushed.claims}"
    assert [each for each in (ann.user_id, bo.user_id, together, ann.number) if each in said] == []


async def test_a_device_with_a_socket_is_not_pushed_to(node_server: NodeServer, services: PushServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await bo.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/bo"})
    line = await DeviceSocket.connect_and_resume(bo)

    await ann.post(together, bo, b"hello")
    await until_acknowledged(bo, 1)
    await line.close()
    was_planned = await planned(bo)
    await pass_time(node_server, seconds=4)

    async def is_done() -> bool:
        return not await planned(bo)

    async with waking(node_server):
        await eventually(is_done)

    assert (len(was_planned), services.request_count) == (1, 0)


async def test_a_target_that_is_gone_is_removed(node_server: NodeServer, services: PushServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await bo.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/bo"})
    services.fault = respond_with(410)
    await ann.post(together, bo, b"hello")
    await until_planned(bo)
    await pass_time(node_server, seconds=4)

    async def is_removed() -> bool:
        return not await PushTargetRow.all().count()

    async with waking(node_server):
        await eventually(is_removed)
    await ann.post(together, bo, b"hello again")
    await bo.collect(wait=5)

    assert await planned(bo) == []


async def test_mail_goes_its_way_while_push_services_hang(node_server: NodeServer, services: PushServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    services.fault = never_respond
    others = [await node_server.add_linked_device(bo, number) for number in (2, 3)]
    for device in (bo, *others):
        await device.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/{device.device_id}"})
    await ann.fetch_device_list(bo.user_id, again=True)
    await ann.post(together, bo, b"the first")
    for device in (bo, *others):
        await until_planned(device)
    await pass_time(node_server, seconds=4)

    async with waking(node_server):
        await wait_until(lambda: services.request_count == 3)
        line = await DeviceSocket.connect_and_resume(bo)
        for number in range(20):
            await ann.post(together, bo, b"%d" % number)
        await line.wait_for_entries(21)
        await line.close()

    assert bo.contents == [b"the first", *(b"%d" % number for number in range(20))]


async def test_a_ring_wakes_a_device_without_mail(node_server: NodeServer, services: PushServer) -> None:
    bo = await node_server.node.sign_up()
    await bo.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/bo"})
    row = await DeviceRow.get(account_id=bo.user_id)

    async with waking(node_server):
        await node_server.services.push.wakeups.wake_for_call([MailboxKey(row.mailbox)])
        await wait_until(lambda: bool(services.pushed))

    assert services.pushed[0].headers["Urgency"] == "high"


async def test_the_nodes_key_stays_over_a_restart(sqlite_node_server: NodeServer) -> None:
    device = await sqlite_node_server.node.sign_up()

    answer = await device.call("GET", "/push/vapid-key")

    path = sqlite_node_server.settings.data_dir / "vapid-key"
    assert (create_vapid_key(path), path.stat().st_mode & 0o777) == (False, 0o600)
    assert len(base64.b64decode(answer["publicKey"])) == 65
