"""A harness with a hostile node: Ann behind the proxy and Bo at the real node, in one conversation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

from scripts.nodes import AllInOneProcess
from tests.hostile_node.client_task import ClientTask
from tests.hostile_node.lie import Lie
from tests.hostile_node.proxy import Proxy, open_proxy
from tests.support.node_server import wait_until
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import open_client, register
from vyry.client.api.client import Client, Profile
from vyry.client.errors import ClientError
from vyry.client.store.events import Event, Message


#: What honest people hear of honest nodes.
QUIET = {"message", "receipt", "notice", "read"}


class HostileHarness:
    """`ann` is the victim; `ann_number` and `bo_number` are their telephone numbers."""

    def __init__(self, alone: AllInOneProcess, proxy: Proxy, folder: Path) -> None:
        self.alone = alone
        self.proxy = proxy
        self.folder = folder
        self.ann_number, self.bo_number = unused_number(), unused_number()
        self.ann: Client
        self.bo: Client
        self.client_task: ClientTask
        self.chat = UUID(int=0)

    async def open_ann(self, name: str = "ann") -> Client:
        """Ann's device of that folder, behind the proxy."""
        self.client_task = ClientTask(Profile(self.folder / name, self.proxy.url, bytes(32)))
        self.ann = await self.client_task.client()
        return self.ann

    async def close_ann(self) -> None:
        """Raises what ended it."""
        await self.client_task.close()

    async def restart_ann(self) -> None:
        """Close and open it again."""
        await self.close_ann()
        await self.open_ann()

    async def begin(self, lie: Lie) -> None:
        """It begins, and her client knows all that was told for it."""
        await self.proxy.begin(lie)
        await self.wait_until_acknowledged()

    async def exchange_messages(self) -> None:
        """Ann and Bo meet."""
        self.chat = await self.ann.direct(self.bo.user_id)
        await self.ann.send_text(self.chat, "hello")
        await pending_events(self.bo, upto="hello")
        await self.bo.send_text(self.chat, "hello Ann")
        await pending_events(self.ann, upto="hello Ann")
        for each in (self.ann, self.bo):
            await each.sent()
            await pending_events(each)

    async def post_text(self, text: str, where: UUID | None = None) -> None:
        """Ann says it; it is sent, or given up, when this returns. What ends her client is not raised here."""
        with suppress(ClientError):
            await self.ann.send_text(where or self.chat, text)
            await self.client_task.wait_for(self.ann.sent())

    async def event_names(self) -> set[str]:
        """The names of what Ann was told, with that of what ended her client."""
        with suppress(ClientError):
            await self.wait_until_acknowledged()
            return {event.name for event in await self.client_task.wait_for(pending_events(self.ann))}
        return {type(self.client_task.fault).__name__}

    async def wait_until_acknowledged(self) -> None:
        """Come back when her client has acknowledged all that the proxy told, or has ended."""
        mailbox = self.proxy.mailbox
        await wait_until(
            lambda: self.client_task.fault is not None or mailbox.acknowledged.seq >= mailbox.shown_point.seq
        )

    async def wait_for_text(self, text: str) -> None:
        """Come back when a message of that text was shown, or what ended her client happened."""
        with suppress(ClientError, TimeoutError):
            await self.client_task.wait_for(pending_events(self.ann, upto=text))

    def history_texts(self, where: UUID | None = None) -> list[tuple[str, bool]]:
        """What stands in Ann's history of it, and whether she said it."""
        said = self.ann.conversations.history(where or self.chat)
        return [(event.text, event.is_own) for event in said if isinstance(event, Message)]


@asynccontextmanager
async def open_hostile_harness(
    alone: AllInOneProcess, folder: Path, lie: Lie | None = None, *, has_met: bool = True
) -> AsyncIterator[HostileHarness]:
    """Both registered, and acquainted unless told otherwise; then the lie begins."""
    async with open_proxy(alone.url, seed=1) as proxy, open_client(alone, folder / "bo") as bo:
        here = HostileHarness(alone, proxy, folder)
        here.bo = bo
        await here.open_ann()
        try:
            await register(here.ann, alone, here.ann_number)
            await register(bo, alone, here.bo_number)
            if has_met:
                await here.exchange_messages()
            if lie is not None:
                await here.begin(lie)
            yield here
        finally:
            with suppress(ClientError):
                await here.close_ann()


async def pending_events(client: Client, *, upto: str | None = None) -> list[Event]:
    """What is to be heard now, or what is heard until a message of that text."""
    found: list[Event] = []
    async with asyncio.timeout(20):
        async for event in client.events(follow=upto is not None):
            found.append(event)
            if isinstance(event, Message) and event.text == upto:
                break
    return found


async def compare_safety_number(client: Client, user_id: UUID, digits: str, *, is_accepting: bool = False) -> str:
    """Compare, or accept, by these digits, or without any those that are shown now; answers the name of what was raised, or nothing."""
    safety = client.safety
    try:
        if not digits:
            await safety.numbers(user_id)
        await (safety.accept if is_accepting else safety.verify)(user_id, digits or None)
    except ClientError as refused:
        return type(refused).__name__
    return ""
