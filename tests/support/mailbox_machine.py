"""Random lives of three mailboxes: post, repeat, crash, deposit, collect, acknowledge, expire, park, in any order that Hypothesis can think of.

At the end of each life the network heals: unheard posts are repeated, everything is deposited and read, and tests/support/mailbox_model.py audits it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from typing import ClassVar, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fakes.mail import MemoryMailStore
from tests.support.fake_clock import FakeClock
from tests.support.mail_store_harness import (
    MailStoreHarness,
    MemoryRegistry,
    RowRegistry,
    make_message,
    open_mailbox,
    open_store,
)
from tests.support.mailbox_model import CAPS, ENTRIES, ModelReader, Send, audit, audit_capacity, audit_fan_out
from tests.support.step_runner import StepRunner
from vyry.errors import StaleHead
from vyry.kernel.ids import MailboxKey, UserId
from vyry.mail.envelope import Envelope, Lane
from vyry.mail.store import Acknowledgement, CollectRequest, Message, Outdated, Preconditions
from vyry.storage.database import open_database


T = TypeVar("T")
MAILBOX_COUNT = 3
mailbox_index_sets = st.sets(st.integers(0, MAILBOX_COUNT - 1), min_size=1)
mailbox_indexes = st.integers(0, MAILBOX_COUNT - 1)
lanes = st.sampled_from(Lane)
lifetimes = st.sampled_from([timedelta(seconds=30), timedelta(days=1)])
message_lists = st.lists(st.tuples(mailbox_index_sets, mailbox_indexes, lanes, lifetimes), min_size=1, max_size=3)


class MailboxMachine(RuleBasedStateMachine):
    """A subclass sets `url` (a migrated database) or `memory_store_class` (the fake of the mail store)."""

    url: ClassVar[str | None] = None
    memory_store_class: ClassVar[type[MemoryMailStore]] = MemoryMailStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = StepRunner()
        self.stack = AsyncExitStack()
        self.connection = AsyncExitStack()
        self.sends: list[Send] = []
        #: What floods sent: as many as there was room for, so nothing is drawn from them, or a life could not be lived again.
        self.flood_sends: list[Send] = []
        self.refused: list[Message] = []
        self.ticks = 0
        #: Each is long.
        self.floods = 0
        #: False from the first step of a rule until the invariant after it held: what broke is not audited as well.
        self.is_clean = True

    def run_async(self, work: Awaitable[T]) -> T:
        self.is_clean = False

        async def main() -> T:
            return await work

        return self.runner.run(main())

    def next_tick(self) -> int:
        self.ticks += 1
        return self.ticks

    @initialize()
    def set_up(self) -> None:
        self.harness = self.run_async(self.stack.enter_async_context(self._open_harness()))
        self.devices = [self.run_async(self._device()) for _ in range(MAILBOX_COUNT)]

    @asynccontextmanager
    async def _open_harness(self) -> AsyncIterator[MailStoreHarness]:
        clock = FakeClock()
        if self.url is None:
            store = self.memory_store_class(clock, CAPS)
            yield MailStoreHarness("", store, MemoryRegistry(store.state), clock)
            return
        async with open_database(self.url):
            opened = await self.connection.enter_async_context(open_store(self.url, clock, CAPS))
            yield MailStoreHarness(self.url, opened, RowRegistry(), clock)
            await self.connection.aclose()

    async def _device(self) -> ModelReader:
        owner = UserId(uuid4())
        key = await self.harness.add_mailbox(owner)
        return ModelReader(key, self.harness.mailbox_ids[key], owner)

    def make_send(self, boxes: set[int], sender: int, lane: Lane, lifetime: timedelta) -> Message:
        keys = [self.devices[n].key for n in sorted(boxes)]
        return make_message(
            *keys,
            text=uuid4().bytes,
            sender=self.devices[sender].key,
            lane=lane,
            at=self.harness.clock.now(),
            lifetime=lifetime,
        )

    async def send(self, sends: list[Send], readers: Collection[MailboxKey] = ()) -> None:
        outcomes = await self.harness.store.post([send.message for send in sends], Preconditions(), readers)
        assert not isinstance(outcomes, Outdated)
        for send, outcome in zip(sends, outcomes, strict=True):
            send.record_outcome(outcome, self.next_tick())

    def begin(self, written: list[tuple[set[int], int, Lane, timedelta]]) -> list[Send]:
        sends = [Send(self.make_send(*each), self.next_tick()) for each in written]
        self.sends += sends
        return sends

    @rule(written=message_lists)
    def post(self, written: list[tuple[set[int], int, Lane, timedelta]]) -> None:
        self.run_async(self.send(self.begin(written)))

    @rule(written=message_lists, near=mailbox_index_sets)
    def post_with_readers(self, written: list[tuple[set[int], int, Lane, timedelta]], near: set[int]) -> None:
        """The node has the sockets of some of the devices."""
        self.run_async(self.send(self.begin(written), [self.devices[n].key for n in near]))

    @rule(written=message_lists)
    def post_without_answer(self, written: list[tuple[set[int], int, Lane, timedelta]]) -> None:
        """The web node dies, or the client goes, before the answer comes: perhaps stored, perhaps not."""
        messages = [send.message for send in self.begin(written)]

        async def cut() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await self.harness.store.post(messages, Preconditions())

        self.run_async(cut())

    @rule(boxes=mailbox_index_sets, sender=mailbox_indexes)
    def post_with_a_stale_guard(self, boxes: set[int], sender: int) -> None:
        message = self.make_send(boxes, sender, Lane.MAIL, timedelta(days=1))
        answer = self.run_async(self.harness.store.post([message], Preconditions({UserId(uuid4()): 1})))
        assert isinstance(answer, Outdated), "L2: a stale guard was ignored"
        self.refused.append(message)

    @precondition(lambda self: self.sends)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.run_async(self.send([data.draw(st.sampled_from(self.sends), label="repeated")]))

    @precondition(lambda self: self.sends)
    @rule(data=st.data())
    def post_another_body_under_a_known_id(self, data: st.DataObject) -> None:
        send = data.draw(st.sampled_from(self.sends), label="imitated")
        if send.outcome is None or not any(send.outcome.numbers):
            return
        other = send.message._replace(fingerprint=sha256(b"other").digest())
        outcomes = self.run_async(self.harness.store.post([other], Preconditions()))
        assert not isinstance(outcomes, Outdated)
        send.record_outcome(outcomes[0], self.next_tick())

    @precondition(lambda self: self.floods < 2)
    @rule(flooded=mailbox_indexes, lane=lanes, is_friend=st.booleans())
    def flood(self, flooded: int, lane: Lane, is_friend: bool) -> None:
        """Somebody posts until the node refuses, and then another friend posts for the first time."""
        device = self.devices[flooded]
        # First: what is there depends on what came first where all is done at once, and which rules may follow must not.
        self.floods += 1
        if self.run_async(self.count_in_lane(device, lane)) > ENTRIES[lane] - 2:
            return
        sender, taken = self.run_async(self.sender_account(device, is_friend=is_friend)), 0
        while self.run_async(self.accepts_one_more(device, lane, sender)):
            taken += 1
            assert taken < ENTRIES[lane], "L8: one sender took all the room"
        assert is_friend or taken <= CAPS.for_lane(lane).small_part.entries, "L8: strangers took more than their part"
        friend = self.run_async(self.sender_account(device, is_friend=True))
        assert self.run_async(self.accepts_one_more(device, lane, friend)), "L8: one sender shut out another"

    def all_sends(self) -> list[Send]:
        """Everything."""
        return self.sends + self.flood_sends

    async def count_in_lane(self, device: ModelReader, lane: Lane) -> int:
        """How much there is in this lane, or was."""
        await self.harness.store.deposit([device.key])
        entries = await self.harness.numbered_entries(device.key)
        return sum(entry.packed is None or Envelope.unpack(entry.packed).lane == lane for entry in entries)

    async def sender_account(self, device: ModelReader, *, is_friend: bool) -> UUID:
        account = uuid4()
        if is_friend:
            await self.harness.registry.befriend(device.owner, account)
        return account

    async def accepts_one_more(self, device: ModelReader, lane: Lane, account: UUID) -> bool:
        """Whether a post of this account for this device was taken; it is numbered then."""
        message = make_message(device.key, text=uuid4().bytes, lane=lane, at=self.harness.clock.now())
        send = Send(message._replace(quota_owner=account), self.next_tick())
        self.flood_sends.append(send)
        await self.send([send])
        await self.harness.store.deposit([device.key])
        return send.number_for(device.key) is not None

    @rule(boxes=mailbox_index_sets)
    def deposit(self, boxes: set[int]) -> None:
        self.run_async(self.harness.store.deposit([self.devices[n].key for n in boxes]))

    @rule(written=message_lists, boxes=mailbox_index_sets, reader=mailbox_indexes)
    def do_all_at_once(
        self, written: list[tuple[set[int], int, Lane, timedelta]], boxes: set[int], reader: int
    ) -> None:
        keys, device = [self.devices[n].key for n in boxes], self.devices[reader]
        after, store = device.seq, self.harness.store

        async def main() -> None:
            entries, *_ = await asyncio.gather(
                store.collect([CollectRequest(device.key, after, 100, 10_000)]),
                self.send(self.begin(written), keys),
                store.deposit(keys),
                store.deposit(keys[::-1]),
            )
            device.record_page(entries, after, self.harness.clock.now())

        self.run_async(main())

    @rule(lost=mailbox_index_sets)
    def crash(self, lost: set[int]) -> None:
        """Everything in the process is lost, in the middle of a deposit whose answer nobody hears."""

        async def main() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await self.harness.store.deposit([self.devices[n].key for n in lost])
            if self.url is not None:
                await self.connection.aclose()
                opened = open_store(self.url, self.harness.clock, CAPS)
                self.harness.store = await self.connection.enter_async_context(opened)

        self.run_async(main())

    @rule(reader=mailbox_indexes, entries=st.integers(1, 4), size=st.sampled_from([1, 40, 10_000]))
    def collect(self, reader: int, entries: int, size: int) -> None:
        self.collect_page(self.devices[reader], self.devices[reader].seq, entries, size)

    @rule(reader=mailbox_indexes, back=st.integers(1, 6))
    def collect_again(self, reader: int, back: int) -> None:
        """The device reconnects with an older point, perhaps one that it has acknowledged."""
        device = self.devices[reader]
        self.collect_page(device, max(0, device.seq - back), 100, 10_000)

    def collect_page(self, device: ModelReader, after: int, entries: int, size: int) -> int:
        found = self.run_async(self.harness.store.collect([CollectRequest(device.key, after, entries, size)]))
        device.record_page(found, after, self.harness.clock.now())
        return len(found)

    @rule(reader=mailbox_indexes, short=st.integers(0, 3))
    def acknowledge(self, reader: int, short: int) -> None:
        device = self.devices[reader]
        seq = max(device.seq - short, device.acknowledged)
        cursor = self.run_async(self.harness.acknowledge(device.key, seq, device.head_at(seq), sent=device.seq))
        assert cursor is not None, "L9: a right point was refused"
        assert (cursor.seq, cursor.head) == (seq, device.head_at(seq)), "L9: another point was acknowledged"
        device.acknowledged = seq

    @rule(reader=mailbox_indexes, beyond=st.integers(1, 50))
    def acknowledge_too_far(self, reader: int, beyond: int) -> None:
        """Beyond what was shown, with the last head it knows."""
        device = self.devices[reader]
        cursor = self.run_async(self.harness.acknowledge(device.key, device.seq + beyond, device.head_at(device.seq)))
        assert cursor is None, "L10: a point beyond what was sent was accepted"

    @rule(reader=mailbox_indexes)
    def acknowledge_what_was_not_sent(self, reader: int) -> None:
        """A right point of the mailbox, but this connection was never sent it."""
        device = self.devices[reader]
        for entry in self.run_async(self.harness.numbered_entries(device.key, device.seq)):
            cursor = self.run_async(self.harness.acknowledge(device.key, entry.seq, entry.head, sent=device.seq))
            assert cursor is None, "L10: a point that was never sent was accepted"

    @rule(reader=mailbox_indexes, back=st.integers(0, 6))
    def reconnect(self, reader: int, back: int) -> None:
        device = self.devices[reader]
        after = max(0, device.seq - back)
        try:
            state = self.run_async(open_mailbox(self.harness.store, device.key, after, device.head_at(after))).state
        except StaleHead:
            assert after < device.acknowledged, "L4: a right resume point was refused"
        else:
            assert after >= device.acknowledged, "L9: a device could resume before what it acknowledged"
            assert state.last.seq >= device.seq, "L4: the mailbox went back"

    @rule(reader=mailbox_indexes, back=st.integers(0, 3))
    def acknowledge_with_a_wrong_head(self, reader: int, back: int) -> None:
        device = self.devices[reader]
        seq = device.seq - back
        cursor = self.run_async(self.harness.acknowledge(device.key, max(seq, 0), bytes(32)))
        assert (cursor is None) == (seq > device.acknowledged), "L10: a wrong head was accepted"

    @rule(reader=mailbox_indexes, back=st.integers(0, 3))
    def park(self, reader: int, back: int) -> None:
        device = self.devices[reader]
        seq = device.seq - back
        is_parked = self.run_async(self.harness.store.discard(device.key, seq))
        assert is_parked == (seq > device.acknowledged), "L9: an entry was parked that is not there, or the reverse"
        device.parked.add(seq)

    @rule(seconds=st.sampled_from([1, 29, 31]), limit=st.integers(1, 3))
    def expire(self, seconds: int, limit: int) -> None:
        self.harness.clock.advance(seconds=seconds)
        self.run_async(self.harness.upkeep.expire(self.harness.clock.now(), limit))

    @invariant()
    def the_point_moves_only_by_right_acknowledgements(self) -> None:
        points = [
            Acknowledgement(device.key, device.acknowledged, device.head_at(device.acknowledged))
            for device in self.devices
        ]
        states = {
            state.mailbox: state
            for state in self.run_async(self.harness.store.load_states([each.mailbox for each in points]))
        }
        for point in points:
            cursor = states[point.mailbox].acknowledged
            assert (cursor.seq, cursor.head) == (point.seq, point.head), "L10: the acknowledged point moved by itself"
        self.is_clean = True

    def teardown(self) -> None:
        try:
            if self.is_clean:
                self.recover_and_audit()
        finally:
            self.run_async(self.stack.aclose())
            self.runner.close()

    def recover_and_audit(self) -> None:
        for send in self.all_sends():
            self.run_async(self.send([send]))
        self.run_async(self.harness.store.deposit([device.key for device in self.devices]))
        for device in self.devices:
            while self.collect_page(device, device.seq, 100, 10_000):
                pass
            self.collect_page(device, 0, 100, 10_000)
        for send in self.all_sends():
            audit_fan_out(send, self.devices)
        for device in self.devices:
            audit(device, self.all_sends())
            for send in self.all_sends():
                # Of those who share the room, rule `flood` says what they may take.
                is_limited = send.message.quota_owner is not None
                if not is_limited and send.is_for(device.key) and send.number_for(device.key) is None:
                    audit_capacity(send.message.lane, self.all_sends(), device)
