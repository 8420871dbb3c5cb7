"""A device of somebody, in a few calls: open, register, send, and hear events. Whatever is killed in between goes on where it was."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import aiohttp

from vyry.client.account import Account, Devices
from vyry.client.chain import Entry, Point
from vyry.client.conversations import Conversations
from vyry.client.decided import Decisions
from vyry.client.decisions import KeyReminders
from vyry.client.device import Me
from vyry.client.device_lists import told_key
from vyry.client.events import Event, IdentityChanged, Target
from vyry.client.files import Files
from vyry.client.group_info import GroupInfo
from vyry.client.groups import Groups
from vyry.client.handling import DeadLetters, Run, Stop
from vyry.client.inbox import Inbox, Taken
from vyry.client.invitations import Invitations
from vyry.client.journal import Journal
from vyry.client.key_policy import KeyPolicy, OnChangedKey
from vyry.client.left_over import LeftOver
from vyry.client.line import Line, Mailbox
from vyry.client.linking import Links, become
from vyry.client.live import Live, PresenceRoom
from vyry.client.lookups import Lookups
from vyry.client.messages import Messages
from vyry.client.names import RememberedNames
from vyry.client.opening import Profile, machine_changed, note_machine
from vyry.client.outbox import Outbox
from vyry.client.outgoing import new_id
from vyry.client.people import Friends, People
from vyry.client.profiles import Profiles
from vyry.client.refusals import Unreachable
from vyry.client.registering import Proofs, Read, sign_up
from vyry.client.rest import Rest, limited
from vyry.client.safety import Safety
from vyry.client.shapes import device_number, identifier
from vyry.client.store import Store
from vyry.client.turns import take_turn
from vyry.client.upkeep import Upkeep
from vyry.client.waits import NO_HURRY, Progress, Waits
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.provisioning import Provisioning


__all__ = ["Client", "Profile", "Waits"]

#: How long a message that could not be posted waits for the next try, unless the node says more.
RETRY_SECONDS: Final = 1.0
#: How long the node may say nothing of what waits there, unless `Waits` says it.
PATIENCE_SECONDS: Final = 15.0
#: How often a device looks after its keys and what has had its time.
UPKEEP_SECONDS: Final = 3_600.0
#: A program says where it goes; until then it goes nowhere.
_LOG: Final = logging.getLogger("vyry.client")
_LOG.addHandler(logging.NullHandler())


class Client:
    """One device. Made by `Client.open`."""

    def __init__(  # noqa: PLR0915  a line for each part
        self, store: Store, rest: Rest, carried: Progress | None = None, on_changed_key: OnChangedKey = "ask"
    ) -> None:
        self._store = store
        self._rest = rest
        self._carried = carried or Progress()  # Moves with the bytes of all connections.
        self._inbox = Inbox(store)
        self._journal = Journal(store)
        self._reminders = KeyReminders(store)
        self._policy = KeyPolicy(store, rest, self._inbox, on_changed_key)
        self._outbox = Outbox(store, rest, _now, self._policy)
        self._upkeep = Upkeep(store, rest, _now)
        self._turn, self._news = asyncio.Lock(), asyncio.Event()
        self._live = Live(self._news, _now)
        self._line = Line(
            rest, Mailbox(self._point, self._greeted, self._caught_up, self._take, self._adopt), self._live
        )
        self._to_send = asyncio.Event()
        self._trouble = ""  # Why sending does not go on.
        self._registered = asyncio.Event()
        self._done = asyncio.Event()  # Set after each turn of sending.
        #: What to say, in rooms of their own.
        self.messages: Final = Messages(self, self._read, self._live)
        self.left_over: Final = LeftOver(store)
        self.files: Final = Files(store, rest, self.messages, _now, self.left_over)
        self._group_info = GroupInfo(store, rest, _now)
        self.conversations: Final = Conversations(store, rest, self._group_info, self._drained)
        self.groups: Final = Groups(store, rest, self._group_info, self._to_send.set)
        self.invitations: Final = Invitations(rest, self._group_info.circles)
        self.people: Final = People(rest, Profiles(store), RememberedNames(store), self._outbox.acquaintances.forget)
        self.friends: Final = Friends(rest)
        self.account: Final = Account(rest, Profiles(store), self._outbox.acquaintances.forget)
        self.devices: Final = Devices(rest)
        self.links: Final = Links(store, rest, self._become, self._outbox.handing)
        self.presence: Final = PresenceRoom(self._live)
        self.safety: Final = Safety(store, rest, self._accept, verified=self._verified)
        self.dead_letters: Final = DeadLetters(store, _now, self._news.set)
        self.stop: Final = Stop(self._news)
        self.run: Final = Run(self.events, self.dead_letters, self.stop)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, profile: Profile, *, waits: Waits = NO_HURRY, on_changed_key: OnChangedKey = "ask"
    ) -> AsyncIterator["Client"]:
        """The device of this profile, connected while the context is open if it is registered. `on_changed_key`: what is done where nobody can be asked. Raises StoreLocked, StoreFull, StoreFailed."""
        problems: list[BaseException] = []
        with await _opened(profile, waits) as store:
            try:
                carried = Progress()
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=carried.socket)) as http,
                    asyncio.TaskGroup() as tasks,
                ):
                    client = cls(store, Rest(http, profile.url, store, waits), carried, on_changed_key)
                    # Also what a look at conversations or keys finds is told to whoever listens, at once.
                    store.event_added = partial(asyncio.get_running_loop().call_soon_threadsafe, client._news.set)
                    loops = (
                        client._stay_connected,
                        client._line.keep_alive,
                        client._keep_sending,
                        client._keep_tending,
                    )
                    running = [tasks.create_task(loop()) for loop in loops]
                    if Me.find(store) is not None:
                        client._begin()
                    yield client
                    for task in running:
                        task.cancel()
            except BaseExceptionGroup as group:
                problems += _leaves(group)
        if problems:
            raise problems[0]

    @property
    def user_id(self) -> UUID:
        """Whose device this is. Raises NotRegistered."""
        return Me.of(self._store).user_id

    async def register(
        self, phone_number: str, read_code: Read | Proofs, name: str = "vyry", read_pin: Read | None = None
    ) -> UUID:
        """Sign up with this number: a new primary device with new keys; all others of the account end. The PIN is read where the number is locked; `Proofs` also say whether what was mistyped is read again. Raises BadNumber, Refused, Unreachable."""
        proofs = read_code if isinstance(read_code, Proofs) else Proofs(read_code, read_pin)
        session = await sign_up(self._rest, phone_number, name, proofs)
        with self._rest.shaped():
            me = Me.fresh(identifier(session["userId"]), device_number(session["deviceId"]))
        with self._store.transaction():
            self._rest.keep(session)
            me.keep(self._store)
        await self._upkeep.publish()
        self._begin()
        return self.user_id

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with somebody. Raises Refused, Unreachable."""
        return await self.conversations.direct(user_id)

    async def send_text(self, conversation_id: UUID, text: str, id: UUID | None = None) -> UUID:
        """Say something. It is kept when this returns, and sent as soon as the node can be reached; answers the content's id. Under an `id` that was said before, nothing is said again."""
        return await self.send(conversation_id, "text", {"text": text}, id)

    async def send(self, conversation_id: UUID, kind: str, fields: dict[str, Any], id: UUID | None = None) -> UUID:
        """Send a content of any kind (docs/signal-protocol.md, section 9); under an id that was sent before, nothing. Raises TooLarge, BadContent."""
        content = Content(kind, id or new_id(_now()), _now(), conversation_id, fields)
        async with self._turn:
            await asyncio.to_thread(self._outbox.say, content, self._inbox.effects)
        self._to_send.set()
        return content.id

    async def sent(self) -> Mapping[UUID, str]:
        """Come back when nothing waits to be sent; answers what was refused since this was opened, by content id, and why. Raises Unreachable when nothing goes out for as long as `Waits` says: it goes out later."""
        async with self._rest.progress.within(self._rest.waits, self._why_waiting):
            while self._outbox.is_waiting():
                self._done.clear()
                await self._done.wait()
        return self._outbox.refused

    async def events(self, *, follow: bool = True) -> AsyncIterator[Event]:
        """Everything that happens, oldest first, until `stop`; without `follow` only until all that waited on the node is here.

        An event is done with when the next one is asked for: after a crash the last one comes again, with the same `number`. Who types and who is there is told only with `follow`, as it happens.
        Raises NotRegistered; Unreachable without `follow`, when nothing comes for as long as `Waits` says.
        """
        Me.of(self._store)
        while not (follow and self.stop.asked.is_set()):
            self._news.clear()
            is_all = not follow and self._line.is_drained.is_set()
            found = self._journal.next()
            if found is not None and self.conversations.decisions.is_over(found):
                self._journal.take(found.number)
            elif found is not None:
                yield self._reminders.told(found) if isinstance(found, IdentityChanged) else found
                self._journal.take(found.number)
            elif (reminder := self._reminders.next()) is not None:
                yield reminder
            elif is_all:
                return
            elif follow and (heard := self._live.next()) is not None:
                yield heard
            else:
                await self._more(follow=follow)

    def _begin(self) -> None:
        """This profile has an account: go on with it. In a copy on another machine all sessions begin anew, for the first one may be in use."""
        with self._store.transaction():
            if machine_changed(self._store):
                self._inbox.begin_anew()
            note_machine(self._store)
        self._registered.set()
        self._to_send.set()

    async def _become(self, provisioning: Provisioning, link_token: str) -> UUID:
        await become(self._store, self._rest, (provisioning, link_token), _now())
        await self._upkeep.find_mailbox()
        self._begin()
        return self.user_id

    async def _more(self, *, follow: bool) -> None:
        """Come back when something has happened."""
        if follow:
            await self._news.wait()
            return
        async with self._carried.within(self._receiving, self._why_waiting):
            while self._journal.next() is None and not self._line.is_drained.is_set():
                await self._news.wait()
                self._news.clear()

    async def _drained(self) -> None:
        async with self._carried.within(self._receiving, self._why_waiting):
            await self._line.is_drained.wait()

    @property
    def _receiving(self) -> Waits:
        """How long the mailbox may stand still."""
        waits = self._rest.waits
        return waits if waits.seconds is not None else replace(waits, seconds=PATIENCE_SECONDS)

    def _why_waiting(self) -> str:
        return self._trouble or f"{self._rest.url} does not answer."

    async def _stay_connected(self) -> None:
        await self._registered.wait()
        while Me.of(self._store).point is None:
            # Killed between sign-up and keys: the set is published anew, its ids rise.
            try:
                with limited():
                    await self._upkeep.publish()
            except Unreachable:
                await asyncio.sleep(RETRY_SECONDS)
        await self._line.run()

    async def _keep_sending(self) -> None:
        # Before the node has greeted it is not known whether this store is a restored copy: nothing is posted.
        await self._line.is_greeted.wait()
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            try:
                with limited():
                    await self._send_waiting()
                if await self._group_info.tend():
                    self._to_send.set()
                self._trouble = ""
            except Unreachable as away:
                seconds = away.retry_after_seconds or RETRY_SECONDS
                self._trouble = f"{away} What is to be sent is tried again in {seconds:g} s."
                _LOG.info("sending waits %g s: %s", seconds, away)
                await asyncio.sleep(seconds)
                self._to_send.set()
            self._news.set()
            self._done.set()

    async def _send_waiting(self) -> None:
        async with self._turn:
            await self._upkeep.publish_due()
            await self._settle()
            if await self._policy.accept_changed():
                self._outbox.decided()
            await self._outbox.post_all()
            if self._store.get("refill") is not None:
                await self._upkeep.tend()

    async def _keep_tending(self) -> None:
        await self._registered.wait()
        while True:
            with suppress(Unreachable), limited():
                async with self._turn:
                    await asyncio.to_thread(self._upkeep.sweep)
                    if Me.of(self._store).point is not None and self._upkeep.is_due():
                        await self._upkeep.tend()
            await asyncio.sleep(UPKEEP_SECONDS)

    async def _take(self, entries: Sequence[Entry]) -> Taken:
        async with self._turn:
            await Lookups(self._store, self._outbox.circles).prepare(entries)
            taken = await asyncio.to_thread(self._inbox.take, entries, _now())
        self._news.set()
        self._to_send.set()
        return taken

    async def _greeted(self, last_message_id: UUID | None) -> None:
        async with self._turn:
            await asyncio.to_thread(self._inbox.greeted, last_message_id, _now())
        self._news.set()

    async def _caught_up(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._inbox.drained)
        # Whoever asked for no more than what waited looks again: the line sets `is_drained` before anything else runs.
        self._news.set()

    async def _adopt(self, cursor: Point) -> None:
        async with self._turn:
            await asyncio.to_thread(self._inbox.adopt, cursor)
        self._news.set()

    async def _accept(self, user_id: UUID, identity_key: bytes) -> None:
        async with self._turn:
            await asyncio.to_thread(self._inbox.accept, user_id, identity_key, _now())
            self._outbox.decided()
        self._news.set()
        self._to_send.set()

    def _verified(self, user_id: UUID) -> None:
        Decisions(self._store).note(user_id, _now())
        self._to_send.set()

    async def _settle(self) -> None:
        """Decisions of other own devices about keys that were not seen here. Raises Unreachable."""
        for decided in self._inbox.waiting_decisions():
            told = await told_key(self._rest, decided.user_id)
            await asyncio.to_thread(self._inbox.settle, decided, told)

    async def _read(self, conversation_id: UUID, targets: Sequence[Target]) -> None:
        async with self._turn:
            await asyncio.to_thread(self._outbox.read, conversation_id, targets, self._inbox.effects)
        self._to_send.set()

    def _point(self) -> Point:
        point = Me.of(self._store).point
        assert point is not None
        return point


async def _opened(profile: Profile, waits: Waits) -> Store:
    """Its store, once it is the turn of this process; whoever is cancelled meanwhile leaves none open."""
    profile.check_private()
    profile.check_there()
    with profile.usable():
        lock = await take_turn(profile.store_path, waits)
    opening = asyncio.get_running_loop().run_in_executor(None, profile.open_store, lock)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        (await opening).close()
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """What went wrong, without the groups around it."""
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


def _now() -> int:
    """Ms since 1970."""
    return time.time_ns() // 1_000_000
