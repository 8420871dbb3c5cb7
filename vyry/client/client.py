"""A device of somebody, in a few calls: open, register, send, and hear events. Whatever is killed in between goes on where it was."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiohttp

from vyry.client.chain import Entry, Point
from vyry.client.device import KeptPrekeys, Me
from vyry.client.inbox import Event, Inbox
from vyry.client.line import Line
from vyry.client.outbox import Outbox, new_id
from vyry.client.packing import unpack
from vyry.client.refusals import NotRegistered, Unreachable
from vyry.client.rest import Rest
from vyry.client.store import Store, file_key
from vyry.signal_protocol.contents import Content


#: How long a message that could not be posted waits for the next try.
RETRY_SECONDS: Final = 1.0
#: How long a command waits for the node.
PATIENCE_SECONDS: Final = 15.0
_STORE: Final = "vyry.db"
_KEY: Final = "key"


@dataclass(frozen=True, slots=True)
class Profile:
    """Where a device lives: its folder, its node, and the key of its store (None: a key file in the folder)."""

    folder: Path
    url: str
    key: bytes | None = None

    def open_store(self) -> Store:
        """The store, made when it is not there. Raises StoreLocked."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Store(self.folder / _STORE, self.key or file_key(self.folder / _KEY))


class Client:
    """One device. Made by `Client.open`."""

    def __init__(self, store: Store, rest: Rest) -> None:
        self._store = store
        self._rest = rest
        self._inbox = Inbox(store)
        self._outbox = Outbox(store, rest, _now)
        self._line = Line(rest, self._point, self._take)
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._to_send = asyncio.Event()
        self._registered = asyncio.Event()
        #: Set after each turn of sending.
        self._done = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, profile: Profile) -> AsyncIterator["Client"]:
        """The device of this profile, connected while the context is open if it is registered. Raises StoreLocked."""
        with await asyncio.to_thread(profile.open_store) as store:
            async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
                client = cls(store, Rest(http, profile.url, store))
                running = [tasks.create_task(loop()) for loop in (client._stay_connected, client._keep_sending)]
                with suppress(NotRegistered):
                    Me.of(store)
                    client._registered.set()
                    client._to_send.set()
                yield client
                for task in running:
                    task.cancel()

    @property
    def user_id(self) -> UUID:
        """Whose device this is. Raises NotRegistered."""
        return Me.of(self._store).user_id

    async def register(self, phone_number: str, read_code: Callable[[], Awaitable[str]], name: str = "vyry") -> UUID:
        """Sign up with this number: a new primary device with new keys; all others of the account end. Raises Refused, Unreachable."""
        challenge = await self._rest.open_call("POST", "/auth/request-otp", {"phoneNumber": phone_number})
        proof = {"challengeId": challenge["challengeId"], "otp": await read_code()}
        device = {"name": name, "platform": "cli"}
        session = await self._rest.open_call("POST", "/auth/verify-otp", {**proof, "device": device})
        with self._store.transaction():
            self._rest.keep(session)
            Me.fresh(UUID(session["userId"]), session["deviceId"]).keep(self._store)
        await self._publish()
        self._registered.set()
        return self.user_id

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with somebody. Raises Refused, Unreachable."""
        said = await self._rest.call("POST", "/conversations", {"kind": "direct", "userId": str(user_id)})
        return UUID(said["conversationId"])

    async def send_text(self, conversation_id: UUID, text: str) -> UUID:
        """Say something. It is kept when this returns, and sent as soon as the node can be reached; answers the content's id."""
        return await self.send(conversation_id, "text", {"text": text})

    async def send(self, conversation_id: UUID, kind: str, fields: dict[str, Any]) -> UUID:
        """Send a content of any kind (docs/signal-protocol.md, section 9). Raises TooLarge, BadContent."""
        content = Content(kind, new_id(_now()), _now(), conversation_id, fields)
        async with self._turn:
            await asyncio.to_thread(self._outbox.add, content)
        self._to_send.set()
        return content.id

    async def sent(self) -> None:
        """Come back when nothing waits to be sent."""
        while self._outbox.is_waiting():
            self._done.clear()
            await self._done.wait()

    async def events(self, *, follow: bool = True) -> AsyncIterator[Event]:
        """Everything that happens, oldest first; without `follow` only until all that waited on the node is here.

        An event is done with when the next one is asked for: after a crash the last one comes again. Raises Unreachable without `follow`.
        """
        if not follow:
            await self._drained()
        while True:
            self._news.clear()
            found = self._store.next_event()
            if found is not None:
                number, packed = found
                yield unpack(Event, packed)
                self._store.take_event(number)
            elif follow:
                await self._news.wait()
            else:
                return

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._line.is_drained.wait()
        except TimeoutError:
            raise Unreachable(f"{self._rest.url} does not answer.") from None

    async def _publish(self) -> None:
        """Publish a whole set of keys, and learn where the mailbox begins."""
        with self._store.transaction():
            me, body = KeptPrekeys(self._store).whole_set(Me.of(self._store))
            me.keep(self._store)
        await self._rest.call("PUT", "/keys", body)
        page = await self._rest.call("GET", "/mailbox?limit=1")
        replace(me, point=Point.first(UUID(page["mailboxId"]))).keep(self._store)

    async def _refill(self) -> None:
        with self._store.transaction():
            me, body = KeptPrekeys(self._store).more(Me.of(self._store))
            me.keep(self._store)
        await self._rest.call("POST", "/keys/prekeys", body)
        self._store.put("refill", "", None)

    async def _stay_connected(self) -> None:
        await self._registered.wait()
        if Me.of(self._store).point is None:
            # Killed between sign-up and keys: the set is published anew, its ids rise.
            await self._publish()
        await self._line.run()

    async def _keep_sending(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            try:
                async with self._turn:
                    await self._outbox.post_all()
                    if self._store.get("refill") is not None:
                        await self._refill()
            except Unreachable:
                await asyncio.sleep(RETRY_SECONDS)
                self._to_send.set()
            self._news.set()
            self._done.set()

    async def _take(self, entries: Sequence[Entry]) -> Point:
        async with self._turn:
            point = await asyncio.to_thread(self._inbox.take, entries, _now())
            is_low = self._store.get("refill") is not None
        self._news.set()
        if is_low:
            self._to_send.set()
        return point

    def _point(self) -> Point:
        point = Me.of(self._store).point
        assert point is not None
        return point


def _now() -> int:
    """Ms since 1970."""
    return time.time_ns() // 1_000_000
