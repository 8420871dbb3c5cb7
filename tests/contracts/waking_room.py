"""Where the wake stores are tried: a mail store that plans wake-ups, targets, and time that goes by when it is told to."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from tests.contracts.mail_room import MailRoom, letter
from vyry.adapters.database import connection, is_postgres
from vyry.adapters.memory_mail import MemoryMailStore
from vyry.adapters.memory_wakes import MemoryWakes
from vyry.adapters.push_targets import TortoisePushTargets
from vyry.adapters.rows import DeviceRow
from vyry.adapters.wakes import TortoiseWakes
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.waking import Wake, WakeStore
from vyry.ids import MailboxKey


ALL = tuple(PushKind)
MINUTE = timedelta(minutes=1)
_MOMENTS = ("due_at", "rest_until", "sent_at")


@dataclass(slots=True)
class WakingRoom:
    """One wake store over one mail store, and short words for what tests do with them."""

    mail: MailRoom
    store: WakeStore
    targets: dict[MailboxKey, PushTarget] = field(default_factory=dict)

    async def box(self, kind: PushKind | None = PushKind.FCM) -> MailboxKey:
        """A new mailbox; its device wants to be woken this way."""
        box = await self.mail.box()
        if kind is not None:
            await self.register(box, PushTarget(kind, token=f"token {uuid4()}"))
        return box

    async def register(self, box: MailboxKey, target: PushTarget) -> None:
        """The device wants to be woken so from now on."""
        self.targets[box] = target
        if isinstance(self.store, MemoryWakes):
            self.store.add(box, uuid4(), target)
        else:
            assert await TortoisePushTargets().keep(await self.device(box), target)

    async def device(self, box: MailboxKey) -> UUID:
        """Whose mailbox it is, in a database."""
        return (await DeviceRow.get(mailbox=box)).id

    async def deposit(self, *boxes: MailboxKey, is_urgent: bool = True) -> None:
        """Something comes into these mailboxes."""
        await self.mail.post(letter(*boxes)._replace(is_urgent=is_urgent))
        await self.mail.store.deposit(boxes)

    async def acknowledge(self, box: MailboxKey, seq: int | None = None) -> None:
        """The device takes all that waits, or as far as it is said."""
        entries = [each for each in await self.mail.entries(box) if seq is None or each.seq <= seq]
        await self.mail.acknowledge(box, entries[-1].seq, entries[-1].head)

    async def pass_time(self, **span: float) -> None:
        """All that is planned comes nearer, and all that was is longer ago."""
        if isinstance(self.store, MemoryWakes):
            self.mail.clock.advance(**span)
            return
        seconds = timedelta(**span).total_seconds()
        for column in _MOMENTS:
            await connection().execute_query_dict(_shift(self.mail.url, column, seconds))

    async def due(self, kinds: Sequence[PushKind] = ALL, limit: int = 100) -> list[Wake]:
        """What a worker takes up now."""
        return await self.store.claim(kinds, limit)

    async def due_boxes(self) -> list[MailboxKey]:
        """Whose devices are to be woken now."""
        whose = {target: box for box, target in self.targets.items()}
        return sorted(whose[wake.target] for wake in await self.due())

    async def woken(self, box: MailboxKey, rest: timedelta = MINUTE) -> Wake:
        """The device has been woken."""
        (wake,) = await self.due()
        assert wake.target == self.targets[box]
        await self.store.sent(wake, rest)
        return wake


def _shift(url: str, column: str, seconds: float) -> str:
    if is_postgres(url):
        return f"UPDATE push_wake SET {column} = {column} - make_interval(secs => {seconds})"
    moment = f"strftime('%Y-%m-%d %H:%M:%f+00:00', {column}, '-{seconds} seconds')"
    return f"UPDATE push_wake SET {column} = {moment} WHERE {column} IS NOT NULL"


@asynccontextmanager
async def open_waking(mail: MailRoom) -> AsyncIterator[WakingRoom]:
    """The wake store that goes with this mail store."""
    if isinstance(mail.store, MemoryMailStore):
        yield WakingRoom(mail, MemoryWakes(mail.store.room))
    else:
        yield WakingRoom(mail, TortoiseWakes())
