"""Random lives of three mailboxes: post, repeat, crash, deposit, collect, acknowledge, expire, park, in any order that Hypothesis can think of.

At the end of each life the network heals: unheard posts are repeated, everything is deposited and read, and tests/mailbox_model.py audits it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from typing import ClassVar, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.mail_room import MailRoom, MemoryRegistry, RowRegistry, StandingClock, letter, open_store
from tests.mailbox_model import CAPS, ENTRIES, Device, Send, audit, audit_fan_out, audit_room
from vyry.adapters.database import open_database
from vyry.adapters.memory_mail import MemoryMailStore
from vyry.errors import StaleHead
from vyry.ids import UserId
from vyry.mail.envelope import Envelope, Lane
from vyry.mail.store import Guards, Message, Outdated, Point, Want


T = TypeVar("T")
BOXES = 3
box_sets = st.sets(st.integers(0, BOXES - 1), min_size=1)
one_box = st.integers(0, BOXES - 1)
lanes = st.sampled_from(Lane)
lifetimes = st.sampled_from([timedelta(seconds=30), timedelta(days=1)])
letters = st.lists(st.tuples(box_sets, one_box, lanes, lifetimes), min_size=1, max_size=3)


class MailboxMachine(RuleBasedStateMachine):
    """Subclasses say where the mail is kept: `url` of a migrated database, or the memory store of class `memory`."""

    url: ClassVar[str | None] = None
    memory: ClassVar[type[MemoryMailStore]] = MemoryMailStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.connection = AsyncExitStack()
        self.sends: list[Send] = []
        #: What floods sent: as many as there was room for, so nothing is drawn from them, or a life could not be lived again.
        self.floodings: list[Send] = []
        self.refused: list[Message] = []
        self.ticks = 0
        #: Each is long.
        self.floods = 0
        #: False from the first step of a rule until the invariant after it held: what broke is not audited as well.
        self.is_sound = True

    def run(self, work: Awaitable[T]) -> T:
        self.is_sound = False

        async def main() -> T:
            return await work

        return self.runner.run(main())

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    @initialize()
    def move_in(self) -> None:
        self.room = self.run(self.stack.enter_async_context(self._open()))
        self.devices = [self.run(self._device()) for _ in range(BOXES)]

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[MailRoom]:
        clock = StandingClock()
        if self.url is None:
            store = self.memory(clock, CAPS)
            yield MailRoom("", store, MemoryRegistry(store.room), clock)
            return
        async with open_database(self.url):
            opened = await self.connection.enter_async_context(open_store(self.url, clock, CAPS))
            yield MailRoom(self.url, opened, RowRegistry(), clock)
            await self.connection.aclose()

    async def _device(self) -> Device:
        owner = UserId(uuid4())
        key = await self.room.box(owner)
        return Device(key, self.room.ids[key], owner)

    def write(self, boxes: set[int], sender: int, lane: Lane, lifetime: timedelta) -> Message:
        keys = [self.devices[n].key for n in sorted(boxes)]
        return letter(
            *keys,
            text=uuid4().bytes,
            sender=self.devices[sender].key,
            lane=lane,
            at=self.room.clock.now(),
            lifetime=lifetime,
        )

    async def send(self, sends: list[Send]) -> None:
        outcomes = await self.room.store.post([send.message for send in sends], Guards())
        assert not isinstance(outcomes, Outdated)
        for send, outcome in zip(sends, outcomes, strict=True):
            send.hear(outcome, self.tick())

    def begin(self, written: list[tuple[set[int], int, Lane, timedelta]]) -> list[Send]:
        sends = [Send(self.write(*each), self.tick()) for each in written]
        self.sends += sends
        return sends

    @rule(written=letters)
    def post(self, written: list[tuple[set[int], int, Lane, timedelta]]) -> None:
        self.run(self.send(self.begin(written)))

    @rule(written=letters)
    def post_unheard(self, written: list[tuple[set[int], int, Lane, timedelta]]) -> None:
        """The web node dies, or the client goes, before the answer comes: perhaps stored, perhaps not."""
        messages = [send.message for send in self.begin(written)]

        async def cut() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await self.room.store.post(messages, Guards())

        self.run(cut())

    @rule(boxes=box_sets, sender=one_box)
    def post_with_a_stale_guard(self, boxes: set[int], sender: int) -> None:
        message = self.write(boxes, sender, Lane.MAIL, timedelta(days=1))
        answer = self.run(self.room.store.post([message], Guards({UserId(uuid4()): 1})))
        assert isinstance(answer, Outdated), "L2: a stale guard was ignored"
        self.refused.append(message)

    @precondition(lambda self: self.sends)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.run(self.send([data.draw(st.sampled_from(self.sends), label="repeated")]))

    @precondition(lambda self: self.sends)
    @rule(data=st.data())
    def post_another_body_under_a_known_id(self, data: st.DataObject) -> None:
        send = data.draw(st.sampled_from(self.sends), label="imitated")
        if send.outcome is None or not any(send.outcome.numbers):
            return
        other = send.message._replace(fingerprint=sha256(b"other").digest())
        outcomes = self.run(self.room.store.post([other], Guards()))
        assert not isinstance(outcomes, Outdated)
        send.hear(outcomes[0], self.tick())

    @precondition(lambda self: self.floods < 2)
    @rule(flooded=one_box, lane=lanes, is_friend=st.booleans())
    def flood(self, flooded: int, lane: Lane, is_friend: bool) -> None:
        """Somebody posts until the node refuses, and then another friend posts for the first time."""
        device = self.devices[flooded]
        # First: what is there depends on what came first where all is done at once, and which rules may follow must not.
        self.floods += 1
        if self.run(self.held(device, lane)) > ENTRIES[lane] - 2:
            return
        sender, taken = self.run(self.somebody(device, is_friend=is_friend)), 0
        while self.run(self.one_more(device, lane, sender)):
            taken += 1
            assert taken < ENTRIES[lane], "L8: one sender took all the room"
        assert is_friend or taken <= CAPS.of(lane).part.entries, "L8: strangers took more than their part"
        friend = self.run(self.somebody(device, is_friend=True))
        assert self.run(self.one_more(device, lane, friend)), "L8: one sender shut out another"

    def sent(self) -> list[Send]:
        """Everything."""
        return self.sends + self.floodings

    async def held(self, device: Device, lane: Lane) -> int:
        """How much there is in this lane, or was."""
        await self.room.store.deposit([device.key])
        entries = await self.room.entries(device.key)
        return sum(entry.packed is None or Envelope.unpack(entry.packed).lane == lane for entry in entries)

    async def somebody(self, device: Device, *, is_friend: bool) -> UUID:
        account = uuid4()
        if is_friend:
            await self.room.registry.befriend(device.owner, account)
        return account

    async def one_more(self, device: Device, lane: Lane, account: UUID) -> bool:
        """Whether a post of this account for this device was taken; it is numbered then."""
        message = letter(device.key, text=uuid4().bytes, lane=lane, at=self.room.clock.now())
        send = Send(message._replace(account=account), self.tick())
        self.floodings.append(send)
        await self.send([send])
        await self.room.store.deposit([device.key])
        return send.number_for(device.key) is not None

    @rule(boxes=box_sets)
    def deposit(self, boxes: set[int]) -> None:
        self.run(self.room.store.deposit([self.devices[n].key for n in boxes]))

    @rule(written=letters, boxes=box_sets, reader=one_box)
    def do_all_at_once(
        self, written: list[tuple[set[int], int, Lane, timedelta]], boxes: set[int], reader: int
    ) -> None:
        keys, device = [self.devices[n].key for n in boxes], self.devices[reader]
        after, store = device.seq, self.room.store

        async def main() -> None:
            entries, *_ = await asyncio.gather(
                store.collect([Want(device.key, after, 100, 10_000)]),
                self.send(self.begin(written)),
                store.deposit(keys),
                store.deposit(keys[::-1]),
            )
            device.look(entries, after, self.room.clock.now())

        self.run(main())

    @rule(lost=box_sets)
    def crash(self, lost: set[int]) -> None:
        """Everything in the process is lost, in the middle of a deposit whose answer nobody hears."""

        async def main() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await self.room.store.deposit([self.devices[n].key for n in lost])
            if self.url is not None:
                await self.connection.aclose()
                opened = open_store(self.url, self.room.clock, CAPS)
                self.room.store = await self.connection.enter_async_context(opened)

        self.run(main())

    @rule(reader=one_box, entries=st.integers(1, 4), size=st.sampled_from([1, 40, 10_000]))
    def collect(self, reader: int, entries: int, size: int) -> None:
        self.read(self.devices[reader], self.devices[reader].seq, entries, size)

    @rule(reader=one_box, back=st.integers(1, 6))
    def collect_again(self, reader: int, back: int) -> None:
        """The device reconnects with an older point, perhaps one that it has acknowledged."""
        device = self.devices[reader]
        self.read(device, max(0, device.seq - back), 100, 10_000)

    def read(self, device: Device, after: int, entries: int, size: int) -> int:
        found = self.run(self.room.store.collect([Want(device.key, after, entries, size)]))
        device.look(found, after, self.room.clock.now())
        return len(found)

    @rule(reader=one_box, short=st.integers(0, 3))
    def acknowledge(self, reader: int, short: int) -> None:
        device = self.devices[reader]
        seq = max(device.seq - short, device.acknowledged)
        cursor = self.run(self.room.acknowledge(device.key, seq, device.head(seq), sent=device.seq))
        assert cursor is not None, "L9: a right point was refused"
        assert (cursor.seq, cursor.head) == (seq, device.head(seq)), "L9: another point was acknowledged"
        device.acknowledged = seq

    @rule(reader=one_box, beyond=st.integers(1, 50))
    def acknowledge_too_far(self, reader: int, beyond: int) -> None:
        """Beyond what was shown, with the last head it knows."""
        device = self.devices[reader]
        cursor = self.run(self.room.acknowledge(device.key, device.seq + beyond, device.head(device.seq)))
        assert cursor is None, "L10: a point beyond what was sent was accepted"

    @rule(reader=one_box)
    def acknowledge_what_was_not_sent(self, reader: int) -> None:
        """A right point of the mailbox, but this connection was never sent it."""
        device = self.devices[reader]
        for entry in self.run(self.room.entries(device.key, device.seq)):
            cursor = self.run(self.room.acknowledge(device.key, entry.seq, entry.head, sent=device.seq))
            assert cursor is None, "L10: a point that was never sent was accepted"

    @rule(reader=one_box, back=st.integers(0, 6))
    def reconnect(self, reader: int, back: int) -> None:
        device = self.devices[reader]
        after = max(0, device.seq - back)
        try:
            state = self.run(self.room.store.open_mailbox(device.key, after, device.head(after))).state
        except StaleHead:
            assert after < device.acknowledged, "L4: a right resume point was refused"
        else:
            assert after >= device.acknowledged, "L9: a device could resume before what it acknowledged"
            assert state.last.seq >= device.seq, "L4: the mailbox went back"

    @rule(reader=one_box, back=st.integers(0, 3))
    def acknowledge_with_a_wrong_head(self, reader: int, back: int) -> None:
        device = self.devices[reader]
        seq = device.seq - back
        cursor = self.run(self.room.acknowledge(device.key, max(seq, 0), bytes(32)))
        assert (cursor is None) == (seq > device.acknowledged), "L10: a wrong head was accepted"

    @rule(reader=one_box, back=st.integers(0, 3))
    def park(self, reader: int, back: int) -> None:
        device = self.devices[reader]
        seq = device.seq - back
        is_parked = self.run(self.room.store.park(device.key, seq))
        assert is_parked == (seq > device.acknowledged), "L9: an entry was parked that is not there, or the reverse"
        device.parked.add(seq)

    @rule(seconds=st.sampled_from([1, 29, 31]), limit=st.integers(1, 3))
    def expire(self, seconds: int, limit: int) -> None:
        self.room.clock.advance(seconds=seconds)
        self.run(self.room.upkeep.expire(self.room.clock.now(), limit))

    @invariant()
    def the_point_moves_only_by_right_acknowledgements(self) -> None:
        points = [Point(device.key, device.acknowledged, device.head(device.acknowledged)) for device in self.devices]
        states = {state.mailbox: state for state in self.run(self.room.store.states([each.mailbox for each in points]))}
        for point in points:
            cursor = states[point.mailbox].acknowledged
            assert (cursor.seq, cursor.head) == (point.seq, point.head), "L10: the acknowledged point moved by itself"
        self.is_sound = True

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.heal_and_audit()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    def heal_and_audit(self) -> None:
        for send in self.sent():
            self.run(self.send([send]))
        self.run(self.room.store.deposit([device.key for device in self.devices]))
        for device in self.devices:
            while self.read(device, device.seq, 100, 10_000):
                pass
            self.read(device, 0, 100, 10_000)
        for send in self.sent():
            audit_fan_out(send, self.devices)
        for device in self.devices:
            audit(device, self.sent())
            for send in self.sent():
                # Of those who share the room, rule `flood` says what they may take.
                is_limited = send.message.account is not None
                if not is_limited and send.is_for(device.key) and send.number_for(device.key) is None:
                    audit_room(send.message.lane, self.sent(), device)
