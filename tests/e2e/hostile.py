"""A room for tests with a lying node: Ann behind the proxy, Bo at the real node; they know each other already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

from scripts.nodes import Alone
from tests.client import fresh_number
from tests.e2e.test_sdk import open_at, register
from tests.hostile_node.held import Held
from tests.hostile_node.lie import Lie
from tests.hostile_node.proxy import Proxy, serving
from tests.live_house import until
from vyry.client.client import Client, Profile
from vyry.client.events import Event, Message
from vyry.client.refusals import ClientError


#: What honest people hear of honest nodes.
QUIET = {"message", "receipt", "notice", "read"}


class Room:
    """`ann` is the victim; `ann_number` and `bo_number` are their telephone numbers."""

    def __init__(self, alone: Alone, proxy: Proxy, folder: Path) -> None:
        self.alone = alone
        self.proxy = proxy
        self.folder = folder
        self.ann_number, self.bo_number = fresh_number(), fresh_number()
        self.ann: Client
        self.bo: Client
        self.held: Held
        self.chat = UUID(int=0)

    async def open_ann(self, name: str = "ann") -> Client:
        """Ann's device of that folder, behind the proxy."""
        self.held = Held(Profile(self.folder / name, self.proxy.url, bytes(32)))
        self.ann = await self.held.client()
        return self.ann

    async def close_ann(self) -> None:
        """Raises what ended it."""
        await self.held.close()

    async def restart_ann(self) -> None:
        """Close and open it again."""
        await self.close_ann()
        await self.open_ann()

    async def begin(self, lie: Lie) -> None:
        """It begins, and her client knows all that was told for it."""
        await self.proxy.begin(lie)
        await self.settle()

    async def hello(self) -> None:
        """Ann and Bo meet."""
        self.chat = await self.ann.direct(self.bo.user_id)
        await self.ann.send_text(self.chat, "hello")
        await heard(self.bo, upto="hello")
        await self.bo.send_text(self.chat, "hello Ann")
        await heard(self.ann, upto="hello Ann")
        for each in (self.ann, self.bo):
            await each.sent()
            await heard(each)

    async def say(self, text: str, where: UUID | None = None) -> None:
        """Ann says it; it is sent, or given up, when this returns. What ends her client is not raised here."""
        with suppress(ClientError):
            await self.ann.send_text(where or self.chat, text)
            await self.held.alive(self.ann.sent())

    async def told(self) -> set[str]:
        """The names of what Ann was told, with that of what ended her client."""
        with suppress(ClientError):
            await self.settle()
            return {event.name for event in await self.held.alive(heard(self.ann))}
        return {type(self.held.fault).__name__}

    async def settle(self) -> None:
        """Come back when her client has acknowledged all that the proxy told, or has ended."""
        mailbox = self.proxy.mailbox
        await until(lambda: self.held.fault is not None or mailbox.acknowledged.seq >= mailbox.here.seq)

    async def reads(self, text: str) -> None:
        """Come back when a message of that text was shown, or what ended her client happened."""
        with suppress(ClientError, TimeoutError):
            await self.held.alive(heard(self.ann, upto=text))

    def texts(self, where: UUID | None = None) -> list[tuple[str, bool]]:
        """What stands in Ann's history of it, and whether she said it."""
        said = self.ann.conversations.history(where or self.chat)
        return [(event.text, event.is_own) for event in said if isinstance(event, Message)]


@asynccontextmanager
async def room(alone: Alone, folder: Path, lie: Lie | None = None, *, has_met: bool = True) -> AsyncIterator[Room]:
    """Both registered, and acquainted unless told otherwise; then the lie begins."""
    async with serving(alone.url, seed=1) as proxy, open_at(alone, folder / "bo") as bo:
        here = Room(alone, proxy, folder)
        here.bo = bo
        await here.open_ann()
        try:
            await register(here.ann, alone, here.ann_number)
            await register(bo, alone, here.bo_number)
            if has_met:
                await here.hello()
            if lie is not None:
                await here.begin(lie)
            yield here
        finally:
            with suppress(ClientError):
                await here.close_ann()


async def heard(client: Client, *, upto: str | None = None) -> list[Event]:
    """What is to be heard now, or what is heard until a message of that text."""
    found: list[Event] = []
    async with asyncio.timeout(20):
        async for event in client.events(follow=upto is not None):
            found.append(event)
            if isinstance(event, Message) and event.text == upto:
                break
    return found


async def compared(client: Client, user_id: UUID, digits: str, *, is_accepting: bool = False) -> str:
    """Compare, or accept, by these digits, or without any those that are shown now; answers the name of what was raised, or nothing."""
    safety = client.safety
    try:
        if not digits:
            await safety.numbers(user_id)
        await (safety.accept if is_accepting else safety.verify)(user_id, digits or None)
    except ClientError as refused:
        return type(refused).__name__
    return ""
