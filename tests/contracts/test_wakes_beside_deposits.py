"""Wake-ups during a deposit on another connection: the new mail wakes the device too, and neither waits for the other for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.support.mail_store_harness import MailStoreHarness, make_message
from tests.support.wake_harness import MINUTE, WakeHarness, open_wake_harness
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import Wakeup
from vyry.kernel.ids import MailboxKey
from vyry.storage.push import TortoisePushTargets


_DEPOSIT = "SELECT * FROM mail_deposit($1, 100, 1000000, 100, 1000000, 100, 1000000, $2)"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture(params=["postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """A database with concurrent transactions."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def waking(mail_harness: MailStoreHarness) -> AsyncIterator[WakeHarness]:
    async with open_wake_harness(mail_harness) as opened:
        yield opened


@asynccontextmanager
async def open_other_transaction(mail_harness: WakeHarness) -> AsyncIterator[asyncpg.Connection]:
    """The connection of another node, in a transaction that commits at the end."""
    other = await asyncpg.connect(mail_harness.mail.url)
    try:
        async with other.transaction():
            yield other
    finally:
        await other.close()


async def wait_for_lock(mail_harness: WakeHarness, running: asyncio.Task[None]) -> None:
    """Return when the task waits for a row lock, or has ended."""
    watcher = await asyncpg.connect(mail_harness.mail.url)
    # Nobody rings when a connection begins to wait.
    while not running.done() and not await watcher.fetchval(_WAITING):  # noqa: ASYNC110 - as said
        await asyncio.sleep(0)
    await watcher.close()


async def claimed_wake(waking: WakeHarness) -> tuple[MailboxKey, Wakeup]:
    box = await waking.add_mailbox()
    await waking.deposit(box)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.claim_wakes()
    return box, wake


async def test_what_is_deposited_while_a_push_is_reported_wakes_too(waking: WakeHarness) -> None:
    ann, wake = await claimed_wake(waking)
    await waking.mail.post(make_message(ann))

    async with open_other_transaction(waking) as other:
        await other.fetch(_DEPOSIT, [ann], waking.mail.clock.now())
        reported = asyncio.create_task(waking.store.record_sent(wake, MINUTE))
        await wait_for_lock(waking, reported)
    await reported
    await waking.pass_time(seconds=61)

    assert await waking.claim_mailboxes() == [ann]


@pytest.mark.parametrize("ending", ["drop", "forget", "register"])
async def test_a_target_goes_and_comes_while_somebody_deposits(waking: WakeHarness, ending: str) -> None:
    ann, wake = await claimed_wake(waking)
    device = await waking.device_of(ann)

    async def work() -> None:
        match ending:
            case "drop":
                await waking.store.delete_target(wake)
            case "forget":
                await TortoisePushTargets().delete(device)
            case _:
                await waking.register(ann, PushTarget(PushKind.FCM, token="another"))

    async with open_other_transaction(waking) as other:
        await other.execute("UPDATE mailbox SET seq = seq")
        running = asyncio.create_task(work())
        await wait_for_lock(waking, running)
        await other.execute("UPDATE push_wake SET due_at = $1", datetime.now(UTC) + timedelta(hours=1))
    await running

    assert await waking.claim_wakes() == []


async def test_a_deposit_under_way_holds_up_no_other_wake_up(waking: WakeHarness) -> None:
    ann, bo = await waking.add_mailbox(), await waking.add_mailbox()
    await waking.deposit(ann, bo)
    await waking.pass_time(seconds=4)
    await waking.mail.post(make_message(ann))

    async with open_other_transaction(waking) as other:
        await other.fetch(_DEPOSIT, [ann], waking.mail.clock.now())
        async with asyncio.timeout(10):
            meanwhile = await waking.claim_mailboxes()

    assert (meanwhile, await waking.claim_mailboxes()) == ([bo], [ann])
