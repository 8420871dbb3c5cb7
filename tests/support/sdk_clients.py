"""Clients of the SDK against a node: opened, registered, linked, and read until something has arrived."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from uuid import UUID

from tests.support.rest_device import unused_number
from vyry.client.api.client import Client, Profile
from vyry.client.api.sign_up import ReadInput
from vyry.client.store.events import (
    Event,
)


class SignUpNode(Protocol):
    """Where clients talk to, and where its codes are written."""

    @property
    def url(self) -> str: ...

    @property
    def otp_file(self) -> Path: ...


async def register(
    client: Client, node: SignUpNode, number: str | None = None, read_pin: ReadInput | None = None
) -> UUID:
    number = number or unused_number()

    async def code() -> str:
        """The newest code sent to that number: it is in the file before the node answers."""
        lines = await asyncio.to_thread(node.otp_file.read_text)
        sent = [json.loads(line) for line in lines.splitlines()]
        return str([line["otp"] for line in sent if line["phoneNumber"] == number][-1])

    return await client.register(number, code, read_pin=read_pin)


@asynccontextmanager
async def open_client(node: SignUpNode, folder: Path) -> AsyncIterator[Client]:
    async with Client.open(Profile(folder, node.url)) as client:
        yield client


async def accept(client: Client, user_id: UUID) -> None:
    """Compare the number of another's new key, and go on with it."""
    numbers = await client.safety.numbers(user_id)
    assert numbers.new is not None
    await client.safety.accept(user_id, numbers.new)


async def next_texts(client: Client, count: int) -> list[str]:
    """The next so many messages, in order; notices, receipts and linked devices are passed over."""
    found: list[str] = []
    async with asyncio.timeout(30):
        async for event in client.events():
            assert event.name in ("message", "notice", "receipt", "ownDeviceAdded"), event
            if event.name == "message":
                found.append(event.body["text"])
            if len(found) == count:
                # Asking for the next one is what takes an event; here nobody asks any more.
                break
    return found


async def events_until(client: Client, kind: type[Event]) -> list[Event]:
    """What happens until, and with, an event of that kind."""
    found: list[Event] = []
    async with asyncio.timeout(30):
        async for event in client.events():
            found.append(event)
            if isinstance(event, kind):
                break
    return found


async def link_clients(device: Client, new: Client) -> tuple[str, str]:
    """The codes of both devices; the one that the new device shows was typed in at the other."""
    attempt = await new.links.begin("a laptop")
    scanned = await device.links.scan(attempt.uri)
    codes = scanned.code, await attempt.code()
    assert scanned.matches(codes[1])
    await scanned.approve()
    await attempt.complete()
    return codes


@asynccontextmanager
async def pair(all_in_one: SignUpNode, folder: Path) -> AsyncIterator[tuple[Client, Client, UUID]]:
    """Two people who are both connected, and their conversation."""
    async with open_client(all_in_one, folder / "ann") as ann, open_client(all_in_one, folder / "bo") as bo:
        await register(ann, all_in_one)
        chat = await ann.direct(await register(bo, all_in_one))
        await ann.send_text(chat, "hello")
        assert await next_texts(bo, 1) == ["hello"]
        await bo.send_text(chat, "hello Ann")
        assert await next_texts(ann, 1) == ["hello Ann"]
        for each in (ann, bo):
            assert [event async for event in each.events(follow=False)]
        yield ann, bo, chat
