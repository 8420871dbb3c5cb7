"""Collect and deliver, whatever comes in between: a device is shown every number once, in order, within its window, in frames of the promised size.

The history is random: posts, deposits by this node or by another, hints that come or are lost, reads that deposits overtake, acknowledgements.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fakes.mail import MemoryMailStore
from tests.support.chain_checker import ChainChecker
from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, MemoryRegistry, make_message, open_mailbox
from tests.support.posting_harness import PostingHarness
from vyry.accounts.account import Caller
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.mail.store import CollectRequest, Entry
from web.live.codec import JSON
from web.live.collector import Collector
from web.live.delivery import DeliveryLoop
from web.live.hint_dispatcher import HintDispatcher
from web.live.send_window import WINDOW_BYTES, WINDOW_ENTRIES, SendWindow
from web.live.session import SocketSession, encode_queued


class DeliveryHarness:
    """The socket half of a node over a mail store in memory, one step at a time, and its device."""

    def __init__(self, store: MemoryMailStore, mailbox: MailboxKey) -> None:
        self.store = store
        self.mailbox = mailbox
        self.sessions: dict[MailboxKey, SocketSession] = {}
        self.delivery = DeliveryLoop(10.0)
        self.collector = Collector(store, self.sessions)
        self.hints = HintDispatcher(self.sessions, self.collector, self.delivery)
        harness = store.state.mailboxes[mailbox]
        caller = Caller(harness.address.user_id, DeviceId(1), uuid4(), mailbox, harness.mailbox_id, True, NOON)
        hub = SimpleNamespace(
            delivery=self.delivery, collector=self.collector, services=SimpleNamespace(clock=store.state.clock)
        )
        self.session = SocketSession(cast("Any", None), caller, JSON, cast("Any", hub))
        self.chain = ChainChecker(str(harness.mailbox_id))
        self.drained: list[int] = []
        self.acknowledged = 0

    async def hello(self) -> None:
        """The device resumes at 0."""
        state = (await open_mailbox(self.store, self.mailbox, 0, None)).state
        self.session.window = SendWindow(0, state.acknowledged.head)
        self.session.drain_target = state.last.seq
        self.sessions[self.mailbox] = self.session
        self.session.may_have_entries = True
        self.collector.mark([self.mailbox])

    async def post(self, count: int, size: int) -> None:
        """Accept `count` envelopes, cached for deposits of this node."""
        for message in [make_message(self.mailbox, text=bytes(size), lifetime=timedelta(days=9)) for _ in range(count)]:
            stored = await self.store.post([message], cast("Any", SimpleNamespace(epochs={}, versions={})))
            assert isinstance(stored, list)
            self.hints.cache_envelope(stored[0].numbers[0] or 0, message.contents[0].packed)

    async def deposit(self, origin: str) -> None:
        """Deposit: here, elsewhere with a hint, or elsewhere with the hint lost."""
        rows = await self.store.deposit([self.mailbox])
        if origin == "here" and rows:
            self.hints.on_deposited(rows)
        elif origin == "hinted":
            self.hints.on_notify([self.mailbox])

    async def collect(self, *, is_overtaken: bool = False) -> None:
        """One collect of all marked mailboxes; a deposit on this node may overtake its result."""
        requests: list[CollectRequest] = self.collector._pop_requests()
        entries: Sequence[Entry] = await self.store.collect(requests) if requests else []
        if is_overtaken:
            await self.post(2, 10)
            await self.deposit("here")
        self.collector._distribute(requests, entries)

    def read_frames(self) -> None:
        """The device reads its frames and checks every promise."""
        for raw in [encode_queued(self.session, waiting) for waiting in self.session.outgoing]:
            assert len(raw) <= 256 << 10
            frame = orjson.loads(raw)
            if frame["type"] == "drained":
                self.drained.append(frame["payload"]["seq"])
            for entry in frame["payload"].get("entries", ()):
                self.chain.advance(entry)
        self.session.outgoing.clear()
        window = self.session.window
        assert window is None or (
            0 <= window.remaining()[0] <= WINDOW_ENTRIES and 0 <= window.remaining()[1] <= WINDOW_BYTES
        )

    async def acknowledge(self, back: int) -> None:
        """The device acknowledges all but the newest entries."""
        seq = max(self.acknowledged, self.chain.seq - back)
        window = self.session.window
        if window is not None and seq > self.acknowledged:
            self.acknowledged = seq
            window.release(seq)
            self.collector.mark_if_needed(self.session)


MOVES = st.one_of(
    st.tuples(st.just("post"), st.integers(1, 150), st.sampled_from([0, 10, 700, 30_000, 65_536])),
    st.tuples(st.just("deposit"), st.sampled_from(["here", "hinted", "lost"])),
    st.tuples(st.just("collect"), st.booleans()),
    st.tuples(st.just("acknowledge"), st.integers(0, 300)),
    st.tuples(st.just("hello")),
)


async def run_moves(node: DeliveryHarness, moves: list[tuple[Any, ...]]) -> None:
    """Run these steps, then let the node catch up until the device has every entry."""
    for name, *rest in moves:
        if name == "hello" and not node.sessions:
            await node.hello()
        elif name == "collect":
            await node.collect(is_overtaken=rest[0])
        elif name != "hello":
            await getattr(node, name)(*rest)
        node.read_frames()
    if not node.sessions:
        await node.hello()
    await node.deposit("lost")
    last = node.store.state.mailboxes[node.mailbox].last_cursor.seq
    for _ in range(2 * last + 10):
        node.collector.mark([node.mailbox])
        await node.collect()
        node.read_frames()
        await node.acknowledge(0)


def make_harness() -> DeliveryHarness:
    store = PostingHarness().store
    return DeliveryHarness(store, store.state.add_mailbox(UserId(uuid4()), DeviceId(1)))


@given(st.lists(MOVES, max_size=25))
@example(
    [("hello",), ("collect", False), ("post", 200, 700), ("deposit", "here"), ("post", 100, 700), ("deposit", "here")]
)
@example([("post", 17, 65_536), ("deposit", "lost"), ("hello",), *[("collect", True)] * 4, ("acknowledge", 3)])
@example([("post", 40, 30_000), ("deposit", "lost"), ("hello",), *[("collect", False)] * 9])
def test_a_device_hears_everything_once_in_order_and_within_its_window(moves: list[tuple[Any, ...]]) -> None:
    async def history() -> None:
        node = make_harness()
        await run_moves(node, moves)

        assert node.chain.seq == node.store.state.mailboxes[node.mailbox].last_cursor.seq
        assert len(node.drained) == 1

    asyncio.run(history())


async def test_a_full_window_is_not_read_for_again_before_it_has_room() -> None:
    node = make_harness()
    await node.post(17, 65_000)
    await node.deposit("lost")
    await node.hello()
    for _ in range(10):
        await node.collect()
        node.read_frames()

    assert node.chain.seq == 16
    node.collector.mark([node.mailbox])
    assert node.collector._pop_requests() == []
    await node.acknowledge(0)
    assert [want.after_seq for want in node.collector._pop_requests()] == [16]


async def test_a_deposit_made_here_is_delivered_without_reading() -> None:
    node = make_harness()
    await node.hello()
    await node.collect()

    await node.post(3, 10)
    await node.deposit("here")
    node.read_frames()

    assert node.chain.seq == 3
    assert node.collector._pop_requests() == []


async def test_contents_that_somebody_else_deposited_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.live.hint_dispatcher.MAX_CACHED_BYTES", 100_000)
    node = make_harness()

    await node.post(50, 10_000)
    await node.deposit("lost")

    assert 0 < node.hints._cached_envelopes.weight <= 100_000


async def test_what_expires_while_a_slow_device_takes_nothing_goes_out_as_a_loss() -> None:
    node = make_harness()
    await node.hello()
    await node.collect()
    await node.post(2, 10)
    await node.deposit("here")

    cast("Any", node.store.state.clock).advance(days=9)
    (_, waiting) = node.session.outgoing
    shown = orjson.loads(encode_queued(node.session, waiting))["payload"]["entries"]

    assert [(row["throughSeq"], row["tombstone"]) for row in shown] == [(2, {"reason": "expired", "count": 2})]
    node.read_frames()
    assert node.chain.seq == 2


async def test_an_entry_that_was_lost_here_is_read_as_a_tombstone() -> None:
    node = make_harness()
    harness = MailStoreHarness("", node.store, MemoryRegistry(node.store.state), cast("Any", node.store.state.clock))
    await node.hello()
    await node.collect()
    await harness.post(make_message(node.mailbox, at=NOON - timedelta(days=2), lifetime=timedelta(days=1)))

    await node.deposit("here")
    await node.collect()
    node.read_frames()

    assert (node.chain.seq, node.drained) == (1, [0])
