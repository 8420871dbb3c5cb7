"""A device in a few calls: open, register, send, and receive events. After a crash at any point it continues where it stopped."""

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
from vyry.client.api.backups import backup_calls
from vyry.client.api.contacts import Contacts
from vyry.client.api.conversations import Conversations
from vyry.client.api.files import Files
from vyry.client.api.groups import Groups, Invitations
from vyry.client.api.handler_loop import DeadLetters, HandlerLoop, StopSignal
from vyry.client.api.history_transfer import ClientParts, HistoryTransfer
from vyry.client.api.joining import Joining, NodeInvitations
from vyry.client.api.linking import Links, complete_link
from vyry.client.api.messages import Messages
from vyry.client.api.open_profile import flatten_errors, open_profile_store
from vyry.client.api.people import Friends, People
from vyry.client.api.safety import Safety
from vyry.client.api.search import MessageSearch
from vyry.client.api.sign_up import Proofs, ReadInput, sign_up
from vyry.client.crypto.device_lists import fetch_identity_key
from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.errors import Unreachable
from vyry.client.store import kinds
from vyry.client.store.chosen_names import ChosenNames
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
from vyry.kernel.backoff import jittered
from vyry.kernel.ids import new_id
from vyry.kernel.time import now_milliseconds
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.provisioning import Provisioning


__all__ = ["Client", "Profile", "Waits"]

#: Seconds until a failed post is retried, unless the node asks for more.
RETRY_SECONDS: Final = 1.0
#: Seconds without mailbox progress before receiving gives up, unless `Waits` sets another limit.
RECEIVE_TIMEOUT_SECONDS: Final = 15.0
#: Seconds between two runs of key maintenance and expiry.
UPKEEP_SECONDS: Final = 3_600.0
# Silent until the program configures a handler.
_LOG: Final = logging.getLogger("vyry.client")
_LOG.addHandler(logging.NullHandler())


class Client:
    """One device, created by `Client.open`."""

    def __init__(  # noqa: PLR0915  a line for each part
        self,
        store: Store,
        rest: RestClient,
        bytes_progress: ProgressTimer | None = None,
        on_changed_key: OnChangedKey = "ask",
    ) -> None:
        self._store, self._rest = store, rest
        self._bytes_progress = bytes_progress or ProgressTimer()  # Advances with the bytes of all connections.
        self._inbox, self._journal, self._reminders = Inbox(store), Journal(store), KeyReminders(store)
        self._policy = ChangedKeyPolicy(store, rest, self._inbox, on_changed_key)
        self._outbox = Outbox(store, rest, now_milliseconds, self._policy)
        self._upkeep = KeyMaintenance(store, rest, now_milliseconds)
        self._lock, self._event_ready = asyncio.Lock(), asyncio.Event()
        self._live = LiveSignals(self._event_ready, now_milliseconds)
        self._connection = Connection(rest, self._mailbox_handlers(), self._live)
        self._send_requested, self._registered = asyncio.Event(), asyncio.Event()
        self._send_problem, self._send_round_done = "", asyncio.Event()  # Why sending is paused; set after each round.
        self.messages: Final = Messages(self, self._mark_read, self._live, MessageSearch(store))
        self.unsent_messages: Final = UnsentMessages(store)
        self.files: Final = Files(store, rest, self.messages, now_milliseconds, self.unsent_messages)
        self._group_info = GroupInfo(store, rest, now_milliseconds)
        self.conversations: Final = Conversations(store, rest, self._group_info, self._wait_until_drained)
        self.backup, self.restore = backup_calls(store, self.conversations.list)
        self.groups: Final = Groups(store, rest, self._group_info, self._send_requested.set)
        self.invitations: Final = Invitations(rest, self._group_info.directory)
        profiles, invalidate = Profiles(store), self._outbox.receipt_policy.invalidate
        self.people: Final = People(rest, profiles, RememberedNames(store), ChosenNames(store), invalidate)
        self.account: Final = Account(rest, profiles, invalidate)
        self.friends, self.devices = Friends(rest), Devices(rest)
        self.links: Final = Links(store, rest, self._complete_link, self._outbox.pin_transfer)
        self.history: Final = HistoryTransfer(store, rest, self.files, self._history_parts())
        self.presence: Final = PresenceSubscriptions(self._live)
        self.safety: Final = Safety(store, rest, self._accept_identity, on_verified=self._on_verified)
        self.contacts: Final = Contacts(store, rest, self.safety)
        self.node_invitations: Final = NodeInvitations(rest, self.contacts)
        self.joining: Final = Joining(store, rest, self._adopt_session, self._publish_and_sync)
        self.dead_letters: Final = DeadLetters(store, now_milliseconds, self._event_ready.set)
        self.stop: Final = StopSignal(self._event_ready)
        self.run: Final = HandlerLoop(self.events, self.dead_letters, self.stop)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, profile: Profile, *, waits: Waits = DEFAULT_WAITS, on_changed_key: OnChangedKey = "ask"
    ) -> AsyncIterator["Client"]:
        """The device of this profile, connected while the context is open if it is registered. `on_changed_key`: what to do about a changed identity key without asking a person. Raises StoreLocked, StoreFull, StoreFailed."""
        problems: list[BaseException] = []
        with await open_profile_store(profile, waits) as store:
            try:
                progress = ProgressTimer()
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=progress.make_socket)) as http,
                    asyncio.TaskGroup() as tasks,
                ):
                    client = cls(store, RestClient(http, profile.url, store, waits), progress, on_changed_key)
                    # Fetching conversations or keys adds events too: `events` wakes up for them.
                    store.on_event_added = partial(
                        asyncio.get_running_loop().call_soon_threadsafe, client._event_ready.set
                    )
                    loops = (
                        client._connection_loop,
                        client._connection.keep_alive,
                        client._send_loop,
                        client._maintenance_loop,
                        client._history_loop,
                    )
                    running = [tasks.create_task(loop()) for loop in loops]
                    if LocalDevice.load_or_none(store) is not None:
                        client._start_syncing()
                    yield client
                    for task in running:
                        task.cancel()
            except BaseExceptionGroup as group:
                problems += flatten_errors(group)
        if problems:
            raise problems[0]

    @property
    def user_id(self) -> UUID:
        """The account of this device. Raises NotRegistered."""
        return LocalDevice.load(self._store).user_id

    async def register(
        self, phone_number: str, read_code: ReadInput | Proofs, name: str = "vyry", read_pin: ReadInput | None = None
    ) -> UUID:
        """Sign up with this number: a new primary device with new keys; all other devices of the account are revoked. The PIN is requested if the number is locked; `Proofs` also decide whether a wrong input is requested again. Raises BadNumber, Refused, Unreachable."""
        proofs = read_code if isinstance(read_code, Proofs) else Proofs(read_code, read_pin)
        self._adopt_session(await sign_up(self._rest, phone_number, name, proofs))
        return await self._publish_and_sync()

    def _adopt_session(self, session: Mapping[str, Any]) -> None:
        """The profile becomes the device of this session, with new keys."""
        with self._rest.validated_response():
            me = LocalDevice.generate(read_uuid(session["userId"]), read_device_id(session["deviceId"]))
        with self._store.transaction():
            self._rest.save_tokens(session)
            me.save(self._store)

    async def _publish_and_sync(self) -> UUID:
        await self._upkeep.publish_all()
        self._start_syncing()
        return self.user_id

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with an account. Raises Refused, Unreachable."""
        return await self.conversations.direct(user_id)

    async def send_text(self, conversation_id: UUID, text: str, id: UUID | None = None) -> UUID:
        """Send a text; returns the content's id. The text is stored when this returns and posted as soon as the node is reachable. An `id` that was sent before sends nothing."""
        return await self.send(conversation_id, "text", {"text": text}, id)

    async def send(self, conversation_id: UUID, kind: str, fields: dict[str, Any], id: UUID | None = None) -> UUID:
        """Send a content of any kind (docs/signal-protocol.md, section 9). An `id` that was sent before sends nothing. Raises TooLarge, BadContent."""
        content = Content(kind, id or new_id(now_milliseconds()), now_milliseconds(), conversation_id, fields)
        async with self._lock:
            await asyncio.to_thread(self._outbox.queue_content, content, self._inbox.processor)
        self._send_requested.set()
        return content.id

    async def sent(self) -> Mapping[UUID, str]:
        """Wait until the send queue is empty. Returns the contents refused since the client was opened: the reason by content id. Raises Unreachable when nothing is sent within the limit of `Waits`; queued contents are sent later."""
        async with self._rest.progress.limit_wait(self._rest.waits, self._wait_reason):
            while self._outbox.has_pending():
                self._send_round_done.clear()
                await self._send_round_done.wait()
        return self._outbox.refused

    async def events(self, *, follow: bool = True) -> AsyncIterator[Event]:
        """Every event, oldest first, until `stop`; without `follow` only until everything that waited on the node has arrived.

        An event is completed when the next one is requested: after a crash the last one is delivered again, with the same `number`. Typing and presence come only with `follow`.
        Raises NotRegistered; Unreachable without `follow`, when nothing arrives for as long as `Waits` says.
        """
        LocalDevice.load(self._store)
        while not (follow and self.stop.requested.is_set()):
            self._event_ready.clear()
            is_complete = not follow and self._connection.is_drained.is_set()
            event = self._journal.next_event()
            if event is not None and self.conversations.decisions.is_over(event):
                self._journal.mark_handled(event.number)
            elif event is not None:
                yield self._reminders.with_counts(event) if isinstance(event, IdentityChanged) else event
                self._journal.mark_handled(event.number)
            elif (reminder := self._reminders.next_event()) is not None:
                yield reminder
            elif is_complete:
                return
            elif follow and (signal := self._live.next_event()) is not None:
                yield signal
            else:
                await self._wait_for_event(follow=follow)

    def _mailbox_handlers(self) -> MailboxHandlers:
        return MailboxHandlers(
            self._position, self._on_welcome, self._on_drained, self._process_entries, self._adopt_position
        )

    def _history_parts(self) -> ClientParts:
        refresh = self._outbox.directory.device_lists.refresh
        return ClientParts(refresh, self._wait_until_drained, self._lock, self._send_requested.set)

    def _start_syncing(self) -> None:
        """Start receiving and sending for a registered profile. In a copy on another machine all sessions are reset, because the original may be in use."""
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
        """Return when an event may be available."""
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
        """How long the mailbox may make no progress."""
        waits = self._rest.waits
        return waits if waits.seconds is not None else replace(waits, seconds=RECEIVE_TIMEOUT_SECONDS)

    def _wait_reason(self) -> str:
        return self._send_problem or f"{self._rest.url} does not answer."

    async def _connection_loop(self) -> None:
        await self._registered.wait()
        while LocalDevice.load(self._store).point is None:
            # The process ended between sign-up and key publication: a new set is published, with higher ids.
            try:
                with rate_limit_as_unreachable():
                    await self._upkeep.publish_all()
            except Unreachable:
                await asyncio.sleep(RETRY_SECONDS)
        await self._connection.run()

    async def _send_loop(self) -> None:
        # Before the welcome frame it is unknown whether this store is a restored copy: nothing is posted.
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
            except Unreachable as problem:
                seconds = problem.retry_after_seconds or RETRY_SECONDS
                self._send_problem = f"{problem} Sending is retried in {seconds:g} s."
                _LOG.info("sending paused, retry in %g s: %s", seconds, problem)
                # Many clients get the same whole seconds at the same moment.
                await asyncio.sleep(jittered(seconds, 1.0, 1.25))
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

    async def _history_loop(self) -> None:
        await self._registered.wait()
        await self.history.run()

    async def _process_entries(self, entries: Sequence[Entry]) -> ProcessedPage:
        async with self._lock:
            await Prefetcher(self._store, self._outbox.directory).prefetch(entries)
            page = await asyncio.to_thread(self._inbox.process, entries, now_milliseconds())
        self._event_ready.set()
        self._send_requested.set()
        self.history.wake()
        return page

    async def _on_welcome(self, last_message_id: UUID | None) -> None:
        async with self._lock:
            await asyncio.to_thread(self._inbox.on_welcome, last_message_id, now_milliseconds())
        self._event_ready.set()

    async def _on_drained(self) -> None:
        async with self._lock:
            await asyncio.to_thread(self._inbox.on_drained)
        # `events(follow=False)` checks again: the connection sets `is_drained` before anything else runs.
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
        """Apply decisions of other own devices about keys that this device has not seen. Raises Unreachable."""
        for decision in self._inbox.pending_decisions():
            reported_key = await fetch_identity_key(self._rest, decision.user_id)
            await asyncio.to_thread(self._inbox.resolve_decision, decision, reported_key)

    async def _mark_read(self, conversation_id: UUID, targets: Sequence[Target]) -> None:
        async with self._lock:
            await asyncio.to_thread(self._outbox.mark_read, conversation_id, targets, self._inbox.processor)
        self._send_requested.set()

    def _position(self) -> MailboxPosition:
        position = LocalDevice.load(self._store).point
        assert position is not None
        return position
