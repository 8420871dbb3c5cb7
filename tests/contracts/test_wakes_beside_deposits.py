"""Wake-ups while somebody deposits on another connection: what comes at that moment wakes too, and nobody waits for the other for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.contracts.mail_room import MailRoom, letter
from tests.contracts.waking_room import MINUTE, WakingRoom, open_waking
from vyry.adapters.push_targets import TortoisePushTargets
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.waking import Wake
from vyry.ids import MailboxKey


_DEPOSIT = "SELECT * FROM mail_deposit($1, 100, 1000000, 100, 1000000, $2)"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture(params=["postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """Where transactions run beside each other."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def waking(room: MailRoom) -> AsyncIterator[WakingRoom]:
    async with open_waking(room) as opened:
        yield opened


@asynccontextmanager
async def beside(room: WakingRoom) -> AsyncIterator[asyncpg.Connection]:
    """Another node's connection, in a transaction that is committed at the end."""
    other = await asyncpg.connect(room.mail.url)
    try:
        async with other.transaction():
            yield other
    finally:
        await other.close()


async def until_it_waits(room: WakingRoom, running: asyncio.Task[None]) -> None:
    """Come back when the task waits for a lock, or is over."""
    watcher = await asyncpg.connect(room.mail.url)
    # Nobody rings when a connection begins to wait.
    while not running.done() and not await watcher.fetchval(_WAITING):  # noqa: ASYNC110 - as said
        await asyncio.sleep(0)
    await watcher.close()


async def taken_up(waking: WakingRoom) -> tuple[MailboxKey, Wake]:
    box = await waking.box()
    await waking.deposit(box)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.due()
    return box, wake


async def test_what_is_deposited_while_a_push_is_reported_wakes_too(waking: WakingRoom) -> None:
    ann, wake = await taken_up(waking)
    await waking.mail.post(letter(ann))

    async with beside(waking) as other:
        await other.fetch(_DEPOSIT, [ann], waking.mail.clock.now())
        reported = asyncio.create_task(waking.store.sent(wake, MINUTE))
        await until_it_waits(waking, reported)
    await reported
    await waking.pass_time(seconds=61)

    assert await waking.due_boxes() == [ann]


@pytest.mark.parametrize("ending", ["drop", "forget", "register"])
async def test_a_target_goes_and_comes_while_somebody_deposits(waking: WakingRoom, ending: str) -> None:
    ann, wake = await taken_up(waking)
    device = await waking.device(ann)

    async def work() -> None:
        match ending:
            case "drop":
                await waking.store.drop(wake)
            case "forget":
                await TortoisePushTargets().forget(device)
            case _:
                await waking.register(ann, PushTarget(PushKind.FCM, token="another"))

    async with beside(waking) as other:
        await other.execute("UPDATE mailbox SET seq = seq")
        running = asyncio.create_task(work())
        await until_it_waits(waking, running)
        await other.execute("UPDATE push_wake SET due_at = $1", datetime.now(UTC) + timedelta(hours=1))
    await running

    assert await waking.due() == []


async def test_a_deposit_under_way_holds_up_no_other_wake_up(waking: WakingRoom) -> None:
    ann, bo = await waking.box(), await waking.box()
    await waking.deposit(ann, bo)
    await waking.pass_time(seconds=4)
    await waking.mail.post(letter(ann))

    async with beside(waking) as other:
        await other.fetch(_DEPOSIT, [ann], waking.mail.clock.now())
        async with asyncio.timeout(10):
            meanwhile = await waking.due_boxes()

    assert (meanwhile, await waking.due_boxes()) == ([bo], [ann])
