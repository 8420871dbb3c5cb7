"""A device of somebody, in a few calls: open, register, send, and hear events. Whatever is killed in between goes on where it was."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import aiohttp

from vyry.client.api.account import Account, Devices
from vyry.client.api.conversations import Conversations
from vyry.client.api.files import Files
from vyry.client.api.groups import Groups, Invitations
from vyry.client.api.handler_loop import DeadLetters, HandlerLoop, StopSignal
from vyry.client.api.linking import Links, complete_link
from vyry.client.api.messages import Messages
from vyry.client.api.people import Friends, People
from vyry.client.api.profile_lock import acquire_profile_lock
from vyry.client.api.safety import Safety
from vyry.client.api.sign_up import Proofs, ReadInput, sign_up
from vyry.client.crypto.device_lists import fetch_identity_key
from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.errors import Unreachable
from vyry.client.store import kinds
from vyry.client.store.events import Event, IdentityChanged, Target
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, ProcessedPage
from vyry.client.store.outgoing import UnsentMessages
from vyry.client.store.profile import Profile, is_other_machine, record_machine
from vyry.client.store.remembered_names import RememberedNames
from vyry.client.store.store import Store
from vyry.client.sync.group_info import GroupInfo
from vyry.client.sync.inbox import Inbox
from vyry.client.sync.key_maintenance import KeyMaintenance
from vyry.client.sync.outbox import Outbox
from vyry.client.sync.pending_decisions import ChangedKeyPolicy, KeyReminders, OnChangedKey
from vyry.client.sync.prefetch import Prefetcher
from vyry.client.transport.connection import Connection, MailboxHandlers
from vyry.client.transport.live_signals import LiveSignals, PresenceSubscriptions
from vyry.client.transport.rest import RestClient, rate_limit_as_unreachable
from vyry.client.transport.validation import read_device_id, read_uuid
from vyry.client.transport.waits import DEFAULT_WAITS, ProgressTimer, Waits
from vyry.kernel.ids import new_id
from vyry.kernel.time import now_milliseconds
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.provisioning import Provisioning


__all__ = ["Client", "Profile", "Waits"]

#: How long a message that could not be posted waits for the next try, unless the node says more.
RETRY_SECONDS: Final = 1.0
#: How long the node may say nothing of what waits there, unless `Waits` says it.
RECEIVE_TIMEOUT_SECONDS: Final = 15.0
#: How often a device looks after its keys and what has had its time.
UPKEEP_SECONDS: Final = 3_600.0
#: A program says where it goes; until then it goes nowhere.
_LOG: Final = logging.getLogger("vyry.client")
_LOG.addHandler(logging.NullHandler())


class Client:
    """One device. Made by `Client.open`."""

    def __init__(  # noqa: PLR0915  a line for each part
        self,
        store: Store,
        rest: RestClient,
        bytes_progress: ProgressTimer | None = None,
        on_changed_key: OnChangedKey = "ask",
    ) -> None:
        self._store = store
        self._rest = rest
        self._bytes_progress = bytes_progress or ProgressTimer()  # Moves with the bytes of all connections.
        self._inbox = Inbox(store)
        self._journal = Journal(store)
        self._reminders = KeyReminders(store)
        self._policy = ChangedKeyPolicy(store, rest, self._inbox, on_changed_key)
        self._outbox = Outbox(store, rest, now_milliseconds, self._policy)
        self._upkeep = KeyMaintenance(store, rest, now_milliseconds)
        self._lock, self._event_ready = asyncio.Lock(), asyncio.Event()
        self._live = LiveSignals(self._event_ready, now_milliseconds)
        self._connection = Connection(
            rest,
            MailboxHandlers(
                self._position, self._on_welcome, self._on_drained, self._process_entries, self._adopt_position
            ),
            self._live,
        )
        self._send_requested = asyncio.Event()
        self._send_problem = ""  # Why sending does not go on.
        self._registered = asyncio.Event()
        self._send_round_done = asyncio.Event()  # Set after each turn of sending.
        #: What to say, in rooms of their own.
        self.messages: Final = Messages(self, self._mark_read, self._live)
        self.unsent_messages: Final = UnsentMessages(store)
        self.files: Final = Files(store, rest, self.messages, now_milliseconds, self.unsent_messages)
        self._group_info = GroupInfo(store, rest, now_milliseconds)
        self.conversations: Final = Conversations(store, rest, self._group_info, self._wait_until_drained)
        self.groups: Final = Groups(store, rest, self._group_info, self._send_requested.set)
        self.invitations: Final = Invitations(rest, self._group_info.directory)
        self.people: Final = People(
            rest, Profiles(store), RememberedNames(store), self._outbox.receipt_policy.invalidate
        )
        self.friends: Final = Friends(rest)
        self.account: Final = Account(rest, Profiles(store), self._outbox.receipt_policy.invalidate)
        self.devices: Final = Devices(rest)
        self.links: Final = Links(store, rest, self._complete_link, self._outbox.pin_transfer)
        self.presence: Final = PresenceSubscriptions(self._live)
        self.safety: Final = Safety(store, rest, self._accept_identity, on_verified=self._on_verified)
        self.dead_letters: Final = DeadLetters(store, now_milliseconds, self._event_ready.set)
        self.stop: Final = StopSignal(self._event_ready)
        self.run: Final = HandlerLoop(self.events, self.dead_letters, self.stop)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, profile: Profile, *, waits: Waits = DEFAULT_WAITS, on_changed_key: OnChangedKey = "ask"
    ) -> AsyncIterator["Client"]:
        """The device of this profile, connected while the context is open if it is registered. `on_changed_key`: what is done where nobody can be asked. Raises StoreLocked, StoreFull, StoreFailed."""
        problems: list[BaseException] = []
        with await _open_store(profile, waits) as store:
            try:
                carried = ProgressTimer()
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=carried.make_socket)) as http,
                    asyncio.TaskGroup() as tasks,
                ):
                    client = cls(store, RestClient(http, profile.url, store, waits), carried, on_changed_key)
                    # Also what a look at conversations or keys finds is told to whoever listens, at once.
                    store.on_event_added = partial(
                        asyncio.get_running_loop().call_soon_threadsafe, client._event_ready.set
                    )
                    loops = (
                        client._connection_loop,
                        client._connection.keep_alive,
                        client._send_loop,
                        client._maintenance_loop,
                    )
                    running = [tasks.create_task(loop()) for loop in loops]
                    if LocalDevice.load_or_none(store) is not None:
                        client._start_syncing()
                    yield client
                    for task in running:
                        task.cancel()
            except BaseExceptionGroup as group:
                problems += _flatten(group)
        if problems:
            raise problems[0]

    @property
    def user_id(self) -> UUID:
        """Whose device this is. Raises NotRegistered."""
        return LocalDevice.load(self._store).user_id

    async def register(
        self, phone_number: str, read_code: ReadInput | Proofs, name: str = "vyry", read_pin: ReadInput | None = None
    ) -> UUID:
        """Sign up with this number: a new primary device with new keys; all others of the account end. The PIN is read where the number is locked; `Proofs` also say whether what was mistyped is read again. Raises BadNumber, Refused, Unreachable."""
        proofs = read_code if isinstance(read_code, Proofs) else Proofs(read_code, read_pin)
        session = await sign_up(self._rest, phone_number, name, proofs)
        with self._rest.validated_response():
            me = LocalDevice.generate(read_uuid(session["userId"]), read_device_id(session["deviceId"]))
        with self._store.transaction():
            self._rest.save_tokens(session)
            me.save(self._store)
        await self._upkeep.publish_all()
        self._start_syncing()
        return self.user_id

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with somebody. Raises Refused, Unreachable."""
        return await self.conversations.direct(user_id)

    async def send_text(self, conversation_id: UUID, text: str, id: UUID | None = None) -> UUID:
        """Say something. It is kept when this returns, and sent as soon as the node can be reached; answers the content's id. Under an `id` that was said before, nothing is said again."""
        return await self.send(conversation_id, "text", {"text": text}, id)

    async def send(self, conversation_id: UUID, kind: str, fields: dict[str, Any], id: UUID | None = None) -> UUID:
        """Send a content of any kind (docs/signal-protocol.md, section 9); under an id that was sent before, nothing. Raises TooLarge, BadContent."""
        content = Content(kind, id or new_id(now_milliseconds()), now_milliseconds(), conversation_id, fields)
        async with self._lock:
            await asyncio.to_thread(self._outbox.queue_content, content, self._inbox.processor)
        self._send_requested.set()
        return content.id

    async def sent(self) -> Mapping[UUID, str]:
        """Come back when nothing waits to be sent; answers what was refused since this was opened, by content id, and why. Raises Unreachable when nothing goes out for as long as `Waits` says: it goes out later."""
        async with self._rest.progress.limit_wait(self._rest.waits, self._wait_reason):
            while self._outbox.has_pending():
                self._send_round_done.clear()
                await self._send_round_done.wait()
        return self._outbox.refused

    async def events(self, *, follow: bool = True) -> AsyncIterator[Event]:
        """Everything that happens, oldest first, until `stop`; without `follow` only until all that waited on the node is here.

        An event is done with when the next one is asked for: after a crash the last one comes again, with the same `number`. Who types and who is there is told only with `follow`, as it happens.
        Raises NotRegistered; Unreachable without `follow`, when nothing comes for as long as `Waits` says.
        """
        LocalDevice.load(self._store)
        while not (follow and self.stop.requested.is_set()):
            self._event_ready.clear()
            is_all = not follow and self._connection.is_drained.is_set()
            found = self._journal.next_event()
            if found is not None and self.conversations.decisions.is_over(found):
                self._journal.mark_handled(found.number)
            elif found is not None:
                yield self._reminders.with_counts(found) if isinstance(found, IdentityChanged) else found
                self._journal.mark_handled(found.number)
            elif (reminder := self._reminders.next_event()) is not None:
                yield reminder
            elif is_all:
                return
            elif follow and (heard := self._live.next_event()) is not None:
                yield heard
            else:
                await self._wait_for_event(follow=follow)

    def _start_syncing(self) -> None:
        """This profile has an account: go on with it. In a copy on another machine all sessions begin anew, for the first one may be in use."""
        with self._store.transaction():
            if is_other_machine(self._store):
                self._inbox.reset_sessions()
            record_machine(self._store)
        self._registered.set()
        self._send_requested.set()

    async def _complete_link(self, provisioning: Provisioning, link_token: str) -> UUID:
        await complete_link(self._store, self._rest, (provisioning, link_token), now_milliseconds())
        await self._upkeep.load_mailbox_start()
        self._start_syncing()
        return self.user_id

    async def _wait_for_event(self, *, follow: bool) -> None:
        """Come back when something has happened."""
        if follow:
            await self._event_ready.wait()
            return
        async with self._bytes_progress.limit_wait(self._receive_waits, self._wait_reason):
            while self._journal.next_event() is None and not self._connection.is_drained.is_set():
                await self._event_ready.wait()
                self._event_ready.clear()

    async def _wait_until_drained(self) -> None:
        async with self._bytes_progress.limit_wait(self._receive_waits, self._wait_reason):
            await self._connection.is_drained.wait()

    @property
    def _receive_waits(self) -> Waits:
        """How long the mailbox may stand still."""
        waits = self._rest.waits
        return waits if waits.seconds is not None else replace(waits, seconds=RECEIVE_TIMEOUT_SECONDS)

    def _wait_reason(self) -> str:
        return self._send_problem or f"{self._rest.url} does not answer."

    async def _connection_loop(self) -> None:
        await self._registered.wait()
        while LocalDevice.load(self._store).point is None:
            # Killed between sign-up and keys: the set is published anew, its ids rise.
            try:
                with rate_limit_as_unreachable():
                    await self._upkeep.publish_all()
            except Unreachable:
                await asyncio.sleep(RETRY_SECONDS)
        await self._connection.run()

    async def _send_loop(self) -> None:
        # Before the node has greeted it is not known whether this store is a restored copy: nothing is posted.
        await self._connection.is_welcomed.wait()
        while True:
            await self._send_requested.wait()
            self._send_requested.clear()
            try:
                with rate_limit_as_unreachable():
                    await self._send_waiting()
                if await self._group_info.run_tasks():
                    self._send_requested.set()
                self._send_problem = ""
            except Unreachable as away:
                seconds = away.retry_after_seconds or RETRY_SECONDS
                self._send_problem = f"{away} What is to be sent is tried again in {seconds:g} s."
                _LOG.info("sending waits %g s: %s", seconds, away)
                await asyncio.sleep(seconds)
                self._send_requested.set()
            self._event_ready.set()
            self._send_round_done.set()

    async def _send_waiting(self) -> None:
        async with self._lock:
            await self._upkeep.publish_if_due()
            await self._apply_remote_decisions()
            if await self._policy.accept_changed():
                self._outbox.release_held()
            await self._outbox.post_all()
            if self._store.get(kinds.REFILL) is not None:
                await self._upkeep.refill_and_rotate()

    async def _maintenance_loop(self) -> None:
        await self._registered.wait()
        while True:
            with suppress(Unreachable), rate_limit_as_unreachable():
                async with self._lock:
                    await asyncio.to_thread(self._upkeep.delete_expired)
                    if LocalDevice.load(self._store).point is not None and self._upkeep.is_due():
                        await self._upkeep.refill_and_rotate()
            await asyncio.sleep(UPKEEP_SECONDS)

    async def _process_entries(self, entries: Sequence[Entry]) -> ProcessedPage:
        async with self._lock:
            await Prefetcher(self._store, self._outbox.directory).prefetch(entries)
            taken = await asyncio.to_thread(self._inbox.process, entries, now_milliseconds())
        self._event_ready.set()
        self._send_requested.set()
        return taken

    async def _on_welcome(self, last_message_id: UUID | None) -> None:
        async with self._lock:
            await asyncio.to_thread(self._inbox.on_welcome, last_message_id, now_milliseconds())
        self._event_ready.set()

    async def _on_drained(self) -> None:
        async with self._lock:
            await asyncio.to_thread(self._inbox.on_drained)
        # Whoever asked for no more than what waited looks again: the line sets `is_drained` before anything else runs.
        self._event_ready.set()

    async def _adopt_position(self, cursor: MailboxPosition) -> None:
        async with self._lock:
            await asyncio.to_thread(self._inbox.adopt_position, cursor)
        self._event_ready.set()

    async def _accept_identity(self, user_id: UUID, identity_key: bytes) -> None:
        async with self._lock:
            await asyncio.to_thread(self._inbox.accept_identity, user_id, identity_key, now_milliseconds())
            self._outbox.release_held()
        self._event_ready.set()
        self._send_requested.set()

    def _on_verified(self, user_id: UUID) -> None:
        IdentityDecisions(self._store).record_local(user_id, now_milliseconds())
        self._send_requested.set()

    async def _apply_remote_decisions(self) -> None:
        """Decisions of other own devices about keys that were not seen here. Raises Unreachable."""
        for decided in self._inbox.pending_decisions():
            told = await fetch_identity_key(self._rest, decided.user_id)
            await asyncio.to_thread(self._inbox.resolve_decision, decided, told)

    async def _mark_read(self, conversation_id: UUID, targets: Sequence[Target]) -> None:
        async with self._lock:
            await asyncio.to_thread(self._outbox.mark_read, conversation_id, targets, self._inbox.processor)
        self._send_requested.set()

    def _position(self) -> MailboxPosition:
        point = LocalDevice.load(self._store).point
        assert point is not None
        return point


async def _open_store(profile: Profile, waits: Waits) -> Store:
    """Its store, once it is the turn of this process; whoever is cancelled meanwhile leaves none open."""
    profile.check_transport()
    profile.check_exists()
    with profile.translated_errors():
        lock = await acquire_profile_lock(profile.store_path, waits)
    opening = asyncio.get_running_loop().run_in_executor(None, profile.open_store, lock)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        (await opening).close()
        raise


def _flatten(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """What went wrong, without the groups around it."""
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _flatten(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
