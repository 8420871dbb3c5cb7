"""A room for tests with a lying node: Ann behind the proxy, Bo at the real node; they know each other already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

from scripts.nodes import Alone
from tests.client import fresh_number
from tests.e2e.test_sdk import open_at, register
from tests.hostile_node.lie import Lie
from tests.hostile_node.proxy import Proxy, serving
from vyry.client.client import Client, Profile
from vyry.client.events import Event, Message


class Room:
    """`ann` is the victim; `ann_number` and `bo_number` are their telephone numbers."""

    def __init__(self, alone: Alone, proxy: Proxy, folder: Path) -> None:
        self.alone = alone
        self.proxy = proxy
        self.folder = folder
        self.ann_number, self.bo_number = fresh_number(), fresh_number()
        self.ann: Client
        self.bo: Client
        self.chat = UUID(int=0)
        self._stack = AsyncExitStack()

    async def open_ann(self, name: str = "ann") -> Client:
        """Ann's device of that folder, behind the proxy; whatever ends its loops is raised by `close_ann`."""
        profile = Profile(self.folder / name, self.proxy.url, bytes(32))
        self._stack = AsyncExitStack()
        self.ann = await self._stack.enter_async_context(Client.open(profile))
        return self.ann

    async def close_ann(self) -> None:
        """Raises what ended it."""
        await self._stack.aclose()

    async def restart_ann(self) -> None:
        """Close and open it again."""
        await self.close_ann()
        await self.open_ann()

    async def hello(self) -> None:
        """Ann and Bo meet."""
        self.chat = await self.ann.direct(self.bo.user_id)
        await self.ann.send_text(self.chat, "hello")
        await heard(self.bo, upto="hello")
        await self.bo.send_text(self.chat, "hello Ann")
        await heard(self.ann, upto="hello Ann")
        for each in (self.ann, self.bo):
            await heard(each)


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
                await proxy.begin(lie)
            yield here
        finally:
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
