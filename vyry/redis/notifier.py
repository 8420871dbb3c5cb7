"""The notifier over Redis: a leased key for each mailbox says which node has its socket, and each node has a channel for hints.

Theory: Redis may go down, lose all data or lose messages at any time. So no call takes longer than a second (RedisGuard), and a node announces its mailboxes
again: each 20 s, after a reconnect, and when its own marker is missing (FLUSHALL). After every connect the listener learns that hints may have been lost,
and reads the database. While Redis does not answer at once, `is_in_doubt` is true, and the node looks for new entries in the database all the time
(web/live/catch_up.py).
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, assert_never
from uuid import UUID

from redis.asyncio.client import PubSub

from vyry.kernel.batches import batched
from vyry.kernel.coalescer import Coalescer
from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import SESSION_ENDED, CacheTopic, NodeSockets
from vyry.mail.work_record import pack
from vyry.redis.guard import DEADLINE_SECONDS, REDIS_ERRORS, RedisGuard
from vyry.redis.hints import Hint, HintKind
from vyry.redis.socket_query import answer_channel, channel_name, location_key, pack_answer
from vyry.telemetry import log, record
from vyry.tracing import pack_contexts, trace_step, unpack_contexts


LEASE_SECONDS: Final = 60
#: How often a node checks its marker in Redis, and pings a channel without a message.
CHECK_SECONDS: Final = 0.3
#: A channel is dead after so many checks without a message and without an answer to a ping.
QUIET_CHECKS: Final = 10
#: The leases are renewed at every so many checks.
CHECKS_PER_REFRESH: Final = 66
#: For the announcement of all mailboxes after a connect.
ANNOUNCE_SECONDS: Final = 4.0
#: Hints are in doubt when Redis takes longer to answer.
PROMPT_SECONDS: Final = 0.25
#: Hints stay in doubt for this time after Redis is back: other nodes reconnect later, and send what they kept.
SETTLE_SECONDS: Final = 1.5
#: Keys of one call: far below the limit of unpack in Lua, and few enough not to delay other calls.
_BATCH: Final = 500
#: Notifications kept while Redis is down. More are dropped; the listeners find the mail at their next check.
MAX_PENDING: Final = 100_000
#: Answers to operators that wait to be sent; further questions get none.
_MAX_ANSWERS: Final = 100


class RedisNotifier:
    """Hints between nodes. They leave and arrive while `run` runs."""

    def __init__(
        self,
        guard: RedisGuard,
        *,
        sockets: NodeSockets,
        on_presence: Callable[[bytes], object] = bytes,
        node: str | None = None,
        prefix: str = "vyry",
    ) -> None:
        self._guard = guard
        self._redis = guard.redis
        self._prefix = prefix
        self._node = node or new_node_name()
        #: The channel of this node, and that of all nodes.
        self.channel = channel_name(self._node, prefix)
        self._all_nodes = f"{prefix}:nodes"
        #: Receives the presence changes of the accounts that this node watches.
        self._on_presence = on_presence
        self._held: dict[MailboxKey, int] = {}
        #: Mailboxes with a socket here that are not announced in Redis yet.
        self._unannounced: set[MailboxKey] = set()
        self._announcing = asyncio.Lock()
        #: The mailboxes whose hints wait.
        self.pending: Coalescer[MailboxKey] = Coalescer()
        #: Answers to operators: channel and payload.
        self._answers: Coalescer[tuple[str, bytes]] = Coalescer()
        self._is_subscribed = False
        #: Checks in a row without a message of the channels; the first one sends a ping.
        self._quiet_checks = 0
        #: When the check of the marker began that has no answer yet.
        self._checked_at: float | None = None
        self._doubt_until = 0.0
        self._sockets = sockets
        self._publish_script = guard.load_script("hints_publish")
        self._claim_script = guard.load_script("locations_claim")
        self._release_script = guard.load_script("locations_release")

    async def notify(self, mailboxes: Collection[MailboxKey]) -> None:
        # Notifications are collected while the previous call runs, so the caller never waits for Redis.
        if len(self.pending) < MAX_PENDING:
            self.pending.update(mailboxes)

    async def relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> set[MailboxKey]:
        held, _ = await self._publish(Hint(HintKind.RELAY, frame, mailboxes))
        return held

    async def close_sockets(self, mailboxes: Collection[MailboxKey]) -> None:
        await self._publish(Hint.displacement(SESSION_ENDED, mailboxes))

    async def invalidate(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        hint = Hint.change(topic, ids)
        self._dispatch(hint)
        await self._guard.call(lambda: self._redis.publish(self._all_nodes, hint.pack()))

    async def register_socket(self, mailbox: MailboxKey, connection: int) -> None:
        older = self._held.get(mailbox)
        if older is None or older <= connection:
            self._held[mailbox] = connection
            self._unannounced.add(mailbox)
            await self._announce_pending()
        if older is not None and older != connection:
            self._dispatch(Hint.displacement(max(older, connection), [mailbox]))

    async def unregister_socket(self, mailbox: MailboxKey, connection: int) -> None:
        if self._held.get(mailbox) == connection:
            del self._held[mailbox]
            keys, expected = [location_key(mailbox, self._prefix)], [f"{self._node}:{connection}"]
            await self._guard.call(lambda: self._release_script(keys=keys, args=expected))

    @property
    def is_in_doubt(self) -> bool:
        now = time.monotonic()
        is_slow = self._checked_at is not None and now - self._checked_at > PROMPT_SECONDS
        if not self._is_subscribed or self._quiet_checks > 1 or is_slow:
            self._doubt_until = now + SETTLE_SECONDS
        return now < self._doubt_until

    async def run(self) -> None:
        """Send notifications, read the channels and renew the leases until cancelled, also while Redis is down."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pending.run(self._notify_batch))
            tasks.create_task(self._answers.run(self._send_answers))
            tasks.create_task(self._subscribe_loop())
            tasks.create_task(self._lease_loop())

    async def _notify_batch(self, mailboxes: Sequence[MailboxKey]) -> None:
        began = time.perf_counter()
        hint = Hint(HintKind.NOTIFY, pack_contexts(mailboxes), mailboxes)
        reached, missed = await self._publish(hint)
        record("notify", len(reached), time.perf_counter() - began)
        trace_step("notify", reached, began)
        if missed:
            await asyncio.sleep(self._guard.seconds_until_retry)
            await self.notify(missed)

    async def _send_answers(self, answers: Sequence[tuple[str, bytes]]) -> None:
        for channel, payload in answers:
            await self._guard.call(partial(self._redis.publish, channel, payload))

    async def _subscribe_loop(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        await channel.subscribe(self.channel, self._all_nodes)
                    await self._read_channel(channel)
            except REDIS_ERRORS as problem:
                self._is_subscribed = False
                await asyncio.sleep(self._guard.record_failure(problem))

    async def _read_channel(self, channel: PubSub) -> None:
        self._quiet_checks = 0
        while True:
            async with asyncio.timeout(CHECK_SECONDS + DEADLINE_SECONDS):
                message = await channel.get_message(timeout=CHECK_SECONDS)
                if message is None:
                    await channel.ping()
            if message is None:
                self._quiet_checks += 1
                if self._quiet_checks > QUIET_CHECKS:
                    # A broken connection may report no error: only the missing answer shows it.
                    raise TimeoutError("the channel is dead")
                continue
            self._quiet_checks = 0
            # The second of the two channels is confirmed.
            if message["type"] == "subscribe" and message["data"] == 2:
                async with asyncio.timeout(ANNOUNCE_SECONDS):
                    await self._announce_all()
                self._guard.record_success()
                self._is_subscribed = True
                self._report_gap()
            elif message["type"] == "message":
                self._parse_and_dispatch(message["data"])

    async def _lease_loop(self) -> None:
        checks = 0
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            checks += 1
            if not self._is_subscribed:
                # After the connect everything is announced.
                continue
            self._checked_at = self._checked_at or time.monotonic()
            is_known = await self._guard.call(lambda: self._redis.exists(self.channel))
            if is_known is not None:
                self._checked_at = None
            is_announced = None
            if is_known == 0 or checks % CHECKS_PER_REFRESH == 0:
                is_announced = await self._guard.call(self._announce_all)
            await self._announce_pending()
            if is_known == 0 and is_announced:
                self._report_gap()
            elif is_known == 0:
                self._doubt_until = time.monotonic() + SETTLE_SECONDS

    async def _announce_all(self) -> bool:
        """Announce all mailboxes, then this node. Returns True (None is a failed call)."""
        await self._announce(dict(self._held))
        # The marker has the name of the channel. It is set last: a missing marker means that not everything is announced.
        await self._redis.set(self.channel, 1, ex=LEASE_SECONDS)
        return True

    async def _announce_pending(self) -> None:
        """Announce all mailboxes registered during the previous announcement in one call; those that failed stay for the next."""
        async with self._announcing:
            waiting, self._unannounced = self._unannounced, set()
            held = {mailbox: self._held[mailbox] for mailbox in waiting if mailbox in self._held}
            if not held:
                return
            try:
                is_announced = await self._guard.call(lambda: self._announce(held))
                if is_announced:
                    held.clear()
            finally:
                self._unannounced |= held.keys()

    async def _announce(self, held: Mapping[MailboxKey, int]) -> bool:
        """Announce the mailboxes, and displace those that have a newer connection on another node. Returns True (None is a failed call)."""
        for part in batched(held, _BATCH):
            args: list[str | bytes | int] = [self._node, LEASE_SECONDS * 1000, channel_name("", self._prefix)]
            for mailbox in part:
                args += (held[mailbox], Hint.displacement(held[mailbox], [mailbox]).pack())
            newer = await self._claim_script(keys=[location_key(mailbox, self._prefix) for mailbox in part], args=args)
            for mailbox, connection in zip(part, newer, strict=True):
                if connection:
                    self._dispatch(Hint.displacement(int(connection), [mailbox]))
        return True

    async def _publish(self, hint: Hint) -> tuple[set[MailboxKey], list[MailboxKey]]:
        """Send the hint to the nodes of the mailboxes; returns the mailboxes with a socket, and those that could not be looked up."""
        held = self._held.keys() & hint.mailboxes
        missed: list[MailboxKey] = []
        if held:
            self._dispatch(Hint(hint.kind, hint.argument, set(held)))
        for part in batched([mailbox for mailbox in hint.mailboxes if mailbox not in held], _BATCH):
            reached = await self._guard.call(partial(self._publish_batch, hint, part))
            if reached is None:
                missed += part
            else:
                held |= reached
        return held, missed

    async def _publish_batch(self, hint: Hint, part: Sequence[MailboxKey]) -> set[MailboxKey]:
        args: list[str | bytes] = [
            channel_name("", self._prefix),
            hint.header(),
            *(pack([mailbox]) for mailbox in part),
        ]
        held = await self._publish_script(keys=[location_key(mailbox, self._prefix) for mailbox in part], args=args)
        return {part[index] for index in held}

    def _parse_and_dispatch(self, packed: bytes) -> None:
        try:
            self._dispatch(Hint.unpack(packed))
        except ValueError:
            # Sent by a node of another version; the listener finds the mail at its next check.
            log.warning("hint_unreadable", size=len(packed))

    def _dispatch(self, hint: Hint) -> None:
        listener = self._sockets.current
        match hint.kind:
            case HintKind.NOTIFY:
                unpack_contexts(hint.argument)
                listener.on_notify(hint.mailboxes)
            case HintKind.RELAY:
                listener.on_relay(hint.mailboxes, hint.argument)
            case HintKind.DISPLACED:
                self._apply_displacement(hint.mailboxes, hint.connection)
            case HintKind.CHANGED:
                listener.on_invalidated(*hint.changes)
            case HintKind.DESCRIBE:
                self._answer_question(hint)
            case HintKind.PRESENCE:
                self._on_presence(hint.argument)
            case _:
                assert_never(hint.what)

    def _answer_question(self, hint: Hint) -> None:
        if len(self._answers) < _MAX_ANSWERS:
            (mailbox, *_) = hint.mailboxes
            found = self._sockets.describe(mailbox)
            self._answers.add((answer_channel(hint.argument, self._prefix), pack_answer(found)))

    def _apply_displacement(self, mailboxes: Collection[MailboxKey], connection: int) -> None:
        for mailbox in mailboxes:
            if self._held.get(mailbox, connection) < connection:
                del self._held[mailbox]
            self._sockets.current.on_displaced(mailbox, connection)

    def _report_gap(self) -> None:
        self._sockets.current.on_hints_lost()


def new_node_name() -> str:
    """A random name for a node."""
    return secrets.token_hex(8)
