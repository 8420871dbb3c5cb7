"""A wake-up from the post to the browser that opens it, on both sizes; and mail that goes its way while push services hang."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from scripts.nodes import PUSH_PORT
from tests.carrier_house import answering, hanging
from tests.client import Device
from tests.contracts.mail_room import MailRoom, RowRegistry, StandingClock
from tests.contracts.waking_room import WakingRoom
from tests.line import Line
from tests.live_house import House, until
from tests.push_house import PushHouse, open_push_house
from vyry.adapters.push_sealing import make_key
from vyry.adapters.rows import DeviceRow, MailboxRow, PushTargetRow, PushWakeRow
from vyry.adapters.wakes import TortoiseWakes
from vyry.ids import MailboxKey


PATH = "/devices/current/push"


@pytest.fixture
async def services() -> AsyncIterator[PushHouse]:
    async with open_push_house(PUSH_PORT) as opened:
        yield opened


@asynccontextmanager
async def waking(house: House) -> AsyncIterator[None]:
    """What the sorting room does beside the mail."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(house.services.push.wakes.run())
        yield
        running.cancel()


async def planned(device: Device) -> list[PushWakeRow]:
    row = await DeviceRow.get(account_id=device.user_id, device_id=device.device_id)
    return await PushWakeRow.filter(device=row.id).exclude(due_at=None)


async def pass_time(house: House, **span: float) -> None:
    """Everything planned comes nearer."""
    url = house.settings.database_url.get_secret_value()
    mail = MailRoom(url, house.services.mail_store, RowRegistry(), StandingClock())
    await WakingRoom(mail, TortoiseWakes()).pass_time(**span)


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


async def test_mail_for_a_sleeping_device_wakes_it_with_nothing_to_read(house: House, services: PushHouse) -> None:
    ann, bo, together = await house.pair()
    subscription = services.subscribe()
    key = base64.b64decode((await bo.call("GET", "/push/vapid-key"))["publicKey"])
    await bo.call("PUT", PATH, subscription.body(services.url))

    await ann.post(together, bo, b"a word between us")
    await until_planned(bo)
    await pass_time(house, seconds=4)
    async with waking(house):
        await until(lambda: bool(services.pushed))

    (pushed,) = services.pushed
    assert (pushed.content, pushed.claims["k"], pushed.claims["aud"]) == (b"{}", key, services.url)
    said = f"{pushed.headers} {pushed.claims}"
    assert [each for each in (ann.user_id, bo.user_id, together, ann.number) if each in said] == []


async def test_a_device_with_a_socket_is_not_pushed_to(house: House, services: PushHouse) -> None:
    ann, bo, together = await house.pair()
    await bo.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/bo"})
    line = await Line.live(bo)

    await ann.post(together, bo, b"hello")
    await until_acknowledged(bo, 1)
    await line.close()
    was_planned = await planned(bo)
    await pass_time(house, seconds=4)

    async def is_done() -> bool:
        return not await planned(bo)

    async with waking(house):
        await eventually(is_done)

    assert (len(was_planned), services.asked) == (1, 0)


async def test_a_target_that_is_gone_is_removed(house: House, services: PushHouse) -> None:
    ann, bo, together = await house.pair()
    await bo.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/bo"})
    services.trouble = answering(410)
    await ann.post(together, bo, b"hello")
    await until_planned(bo)
    await pass_time(house, seconds=4)

    async def is_removed() -> bool:
        return not await PushTargetRow.all().count()

    async with waking(house):
        await eventually(is_removed)
    await ann.post(together, bo, b"hello again")
    await bo.collect(wait=5)

    assert await planned(bo) == []


async def test_mail_goes_its_way_while_push_services_hang(house: House, services: PushHouse) -> None:
    ann, bo, together = await house.pair()
    services.trouble = hanging
    others = [await house.link(bo, number) for number in (2, 3)]
    for device in (bo, *others):
        await device.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/{device.device_id}"})
    await ann.learn(bo.user_id, again=True)
    await ann.post(together, bo, b"the first")
    for device in (bo, *others):
        await until_planned(device)
    await pass_time(house, seconds=4)

    async with waking(house):
        await until(lambda: services.asked == 3)
        line = await Line.live(bo)
        for number in range(20):
            await ann.post(together, bo, b"%d" % number)
        await line.seen(21)
        await line.close()

    assert bo.contents == [b"the first", *(b"%d" % number for number in range(20))]


async def test_a_ring_wakes_a_device_without_mail(house: House, services: PushHouse) -> None:
    bo = await house.node.sign_up()
    await bo.call("PUT", PATH, {"kind": "unifiedpush", "endpoint": f"{services.url}/push/bo"})
    row = await DeviceRow.get(account_id=bo.user_id)

    async with waking(house):
        await house.services.push.wakes.ring([MailboxKey(row.mailbox)])
        await until(lambda: bool(services.pushed))

    assert services.pushed[0].headers["Urgency"] == "high"


async def test_the_nodes_key_stays_over_a_restart(small_house: House) -> None:
    device = await small_house.node.sign_up()

    answer = await device.call("GET", "/push/vapid-key")

    path = small_house.settings.data_dir / "vapid-key"
    assert (make_key(path), path.stat().st_mode & 0o777) == (False, 0o600)
    assert len(base64.b64decode(answer["publicKey"])) == 65
