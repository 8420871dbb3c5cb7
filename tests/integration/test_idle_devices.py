"""A linked device that nobody uses is warned, with its siblings, and ends a week later; one that is used again is not idle any more."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.fake_clock import FakeClock
from tests.support.node_server import NodeServer
from tests.support.rest_device import Device, RequestRefused
from vyry.accounts.events import OperatorAction
from vyry.accounts.idle_devices import WARNING, IdleDevices
from vyry.kernel.ids import UserId
from vyry.operator import accounts as operating
from vyry.storage.database import connection, transaction
from vyry.storage.idle_devices import FIND_UNWARNED, FIND_WARNED, TortoiseIdleDevices
from vyry.storage.models import DeviceRow
from vyry.storage.raw_sql import fetch


LIFETIME = timedelta(days=90)


class IdleDeviceHarness:
    """A person with a linked device last used so many days ago, and a sweeper whose clock the test holds."""

    def __init__(self, node_server: NodeServer, owner: Device, linked: Device) -> None:
        self.house, self.owner, self.linked = node_server, owner, linked
        self.clock = FakeClock()
        self.clock.current_time = datetime.now(UTC)
        endings = node_server.services.devices._revocations  # the node's own
        self._idle = IdleDevices(TortoiseIdleDevices(), endings, self.clock, LIFETIME)

    async def sweep(self, days: float = 0) -> int:
        """The sweeper's turn, so many days later; the notices are delivered."""
        self.clock.advance(days=days)
        done = await self._idle.sweep(100)
        while await self.house.services.notice_poster.post_pending():
            pass
        return done

    async def row(self) -> DeviceRow:
        return await DeviceRow.get(account_id=self.linked.user_id, device_id=self.linked.device_id)


async def make_idle_device(node_server: NodeServer, days: int) -> IdleDeviceHarness:
    ann = await node_server.node.sign_up()
    linked = await node_server.add_linked_device(ann)
    long_ago = datetime.now(UTC).date() - timedelta(days=days)
    await DeviceRow.filter(account_id=ann.user_id).update(last_seen_on=long_ago)
    return IdleDeviceHarness(node_server, ann, linked)


async def idle_notices(device: Device) -> list[object]:
    await device.collect(wait=5)
    return [entry["notice"] for entry in device.received if entry.get("notice", {}).get("name") == "deviceIdle"]


async def test_it_is_warned_a_week_before_by_mail_to_itself_and_its_siblings(node_server: NodeServer) -> None:
    harness = await make_idle_device(node_server, days=82)

    assert [await harness.sweep(), await harness.sweep(days=1), await harness.sweep()] == [0, 1, 0]

    notice = {"name": "deviceIdle", "deviceId": 2, "endsOn": str((harness.clock.current_time + WARNING).date())}
    assert await idle_notices(harness.owner) == [notice]
    assert await idle_notices(harness.linked) == [notice]
    events = (await harness.owner.call("GET", "/account/events"))["events"]
    assert events[0]["name"] == "deviceIdle"


async def test_it_ends_a_week_after_the_warning_and_not_before(node_server: NodeServer) -> None:
    harness = await make_idle_device(node_server, days=83)
    await harness.sweep()

    assert [await harness.sweep(days=6.9), await harness.sweep(days=0.2)] == [0, 1]

    assert (await harness.row()).ended_at == harness.clock.current_time
    with pytest.raises(RequestRefused):
        await harness.linked.call("GET", "/account")
    # The primary device was unused as long, and goes on.
    assert [each["deviceId"] for each in (await harness.owner.call("GET", "/devices"))["devices"]] == [1]


async def test_long_idle_ones_get_their_week_too(node_server: NodeServer) -> None:
    harness = await make_idle_device(node_server, days=400)

    assert [await harness.sweep(), await harness.sweep(days=3), await harness.sweep(days=4.1)] == [1, 0, 1]


async def test_one_that_is_used_again_is_neither_ended_nor_remembered_as_warned(node_server: NodeServer) -> None:
    harness = await make_idle_device(node_server, days=85)
    await harness.sweep()

    # For half a second the node believes to know when it was seen last.
    while (await harness.row()).idle_warned_at is not None:
        await harness.linked.call("GET", "/account")

    assert await harness.sweep(days=8) == 0
    assert (await harness.row()).ended_at is None
    # And later it is warned anew.
    assert await harness.sweep(days=76) == 1


async def test_a_suspension_makes_nobody_idle(node_server: NodeServer) -> None:
    harness = await make_idle_device(node_server, days=85)
    await harness.sweep()
    user = UserId((await harness.row()).account_id)
    act = OperatorAction(harness.clock.current_time, "olga", "userSuspend", "a test", user)

    await operating.suspend_account(user, act)
    assert await harness.sweep(days=30) == 0
    await operating.resume_account(user, act)

    # It is warned once more, and has its week.
    assert [await harness.sweep(), await harness.sweep(days=1)] == [1, 0]
    assert (await harness.row()).ended_at is None


async def test_they_are_found_by_the_index_of_linked_devices(node_server: NodeServer) -> None:
    today, now = datetime.now(UTC).date(), datetime.now(UTC)
    is_sqlite = connection().capabilities.dialect == "sqlite"
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"

    async with transaction() as tx:
        if not is_sqlite:
            # In a small table nobody needs an index.
            await tx.execute_query("SET LOCAL enable_seqscan = off")
        plans = [
            await fetch(tx, f"{explain} {sql}", *values)
            for sql, values in ((FIND_UNWARNED, (today, 9)), (FIND_WARNED, (now, today, 9)))
        ]

    assert ["device_idle" in str(plan) for plan in plans] == [True, True]
