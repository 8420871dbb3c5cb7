"""A harness for the wake stores: a mail store that plans wake-ups, push targets, and a fake clock."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from tests.fakes.mail import MemoryMailStore
from tests.fakes.wakeups import MemoryWakeups
from tests.support.mail_store_harness import MailStoreHarness, make_message
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import Wakeup, WakeupStore
from vyry.kernel.ids import MailboxKey
from vyry.storage.database import connection, is_postgres
from vyry.storage.models import DeviceRow
from vyry.storage.push import TortoisePushTargets, TortoiseWakeups


ALL_KINDS = tuple(PushKind)
MINUTE = timedelta(minutes=1)
_TIME_COLUMNS = ("due_at", "rest_until", "sent_at")


@dataclass(slots=True)
class WakeHarness:
    """One wake store over one mail store, and short words for what tests do with them."""

    mail: MailStoreHarness
    store: WakeupStore
    targets: dict[MailboxKey, PushTarget] = field(default_factory=dict)

    async def add_mailbox(self, kind: PushKind | None = PushKind.FCM) -> MailboxKey:
        """A new mailbox; its device wants to be woken this way."""
        box = await self.mail.add_mailbox()
        if kind is not None:
            await self.register(box, PushTarget(kind, token=f"token {uuid4()}"))
        return box

    async def register(self, box: MailboxKey, target: PushTarget) -> None:
        """The device wants to be woken so from now on."""
        self.targets[box] = target
        if isinstance(self.store, MemoryWakeups):
            self.store.add(box, uuid4(), target)
        else:
            assert await TortoisePushTargets().save(await self.device_of(box), target)

    async def device_of(self, box: MailboxKey) -> UUID:
        """Whose mailbox it is, in a database."""
        return (await DeviceRow.get(mailbox=box)).id

    async def deposit(self, *boxes: MailboxKey, is_urgent: bool = True) -> None:
        """Something comes into these mailboxes."""
        await self.mail.post(make_message(*boxes)._replace(is_urgent=is_urgent))
        await self.mail.store.deposit(boxes)

    async def acknowledge(self, box: MailboxKey, seq: int | None = None) -> None:
        """The device takes all that waits, or as far as it is said."""
        entries = [each for each in await self.mail.numbered_entries(box) if seq is None or each.seq <= seq]
        await self.mail.acknowledge(box, entries[-1].seq, entries[-1].head)

    async def pass_time(self, **span: float) -> None:
        """All that is planned comes nearer, and all that was is longer ago."""
        if isinstance(self.store, MemoryWakeups):
            self.mail.clock.advance(**span)
            return
        seconds = timedelta(**span).total_seconds()
        for column in _TIME_COLUMNS:
            await connection().execute_query_dict(_shift(self.mail.url, column, seconds))

    async def claim_wakes(self, kinds: Sequence[PushKind] = ALL_KINDS, limit: int = 100) -> list[Wakeup]:
        """What a worker takes up now."""
        return await self.store.claim(kinds, limit)

    async def claim_mailboxes(self) -> list[MailboxKey]:
        """Whose devices are to be woken now."""
        whose = {target: box for box, target in self.targets.items()}
        return sorted(whose[wake.target] for wake in await self.claim_wakes())

    async def mark_woken(self, box: MailboxKey, rest: timedelta = MINUTE) -> Wakeup:
        """The device has been woken."""
        (wake,) = await self.claim_wakes()
        assert wake.target == self.targets[box]
        await self.store.record_sent(wake, rest)
        return wake


def _shift(url: str, column: str, seconds: float) -> str:
    if is_postgres(url):
        return f"UPDATE push_wake SET {column} = {column} - make_interval(secs => {seconds})"
    moment = f"strftime('%Y-%m-%d %H:%M:%f+00:00', {column}, '-{seconds} seconds')"
    return f"UPDATE push_wake SET {column} = {moment} WHERE {column} IS NOT NULL"


@asynccontextmanager
async def open_wake_harness(mail: MailStoreHarness) -> AsyncIterator[WakeHarness]:
    """The wake store that goes with this mail store."""
    if isinstance(mail.store, MemoryMailStore):
        yield WakeHarness(mail, MemoryWakeups(mail.store.state))
    else:
        yield WakeHarness(mail, TortoiseWakeups())
