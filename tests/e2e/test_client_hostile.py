"""What no honest client sends comes to the SDK over a real node: it is named, set aside where its form is wrong, and what comes behind it is read."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from scripts.nodes import AllInOneProcess
from tests.support.sdk_clients import events_until, next_texts, open_client, pair
from vyry.client.api.client import Client
from vyry.client.store.events import Message, Unreadable
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.outgoing import Outgoing
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content


pytestmark = pytest.mark.timeout(120)
Change = Callable[[bytes], bytes]
#: How the bytes of a good message are changed, and what is said of it.
CHANGES: dict[str, tuple[Change, str]] = {
    "one bit of the seal": (lambda good: good[:-1] + bytes([good[-1] ^ 1]), "BadMessage"),
    "another version": (lambda good: b"\x02" + good[1:], "UnknownVersion"),
    "another type": (lambda good: good[:1] + b"\x09" + good[2:], "UnknownType"),
    "cut off": (lambda good: good[:40], "Malformed"),
    "a session of nobody": (lambda good: good[:2] + bytes(8) + good[10:], "SessionUnknown"),
    "a sender key of nobody": (lambda _: b"\x01\x03" + bytes(614), "SenderKeyUnknown"),
}
PARKED = ("Malformed", "BadContent", "ContextMismatch")


async def sealed(client: Client, chat: UUID, plaintext: bytes) -> dict[str, Any]:
    """The post of a good message with that inside, as the client would post it."""
    # Sealed as of the other lane, so that nothing is added to the words.
    outgoing = Outgoing(uuid4(), 0, "text", uuid4(), chat, "control", plaintext, is_pairwise=True)
    async with client._lock:
        body, _ = await client._outbox._sealing.seal(outgoing, client._outbox._send)
    assert body is not None
    post: dict[str, Any] = orjson.loads(body)
    return {**post, "lane": "mail"}


def words(chat: UUID, said: str) -> bytes:
    return Content("text", uuid4(), time.time_ns() // 1_000_000, chat, {"text": said}).pack()


async def post(client: Client, body: dict[str, Any], change: Change = lambda good: good) -> str:
    """Post it with other bytes, under an id of its own."""
    for recipient in body["recipients"]:
        for device in recipient["devices"]:
            device["content"] = encode_base64(change(decode_bytes(device["content"])))
    body["messageId"] = str(uuid4())
    await client._rest.call("POST", "/messages", body)
    return str(body["messageId"])


async def befriend(one: Client, other: Client) -> None:
    await one.friends.request(other.user_id)
    await other.friends.accept(one.user_id)


async def fate(client: Client, message_id: str) -> str:
    """What became of its one copy, once it is decided; the reader knows the sender."""
    while True:
        told = await client._rest.call("GET", f"/messages/{message_id}")
        state = str(told["copies"][0]["state"])
        if state in ("delivered", "dropped"):
            return state


@pytest.mark.parametrize("change", CHANGES)
async def test_bytes_that_no_client_sends_are_named_and_the_next_message_is_read(
    all_in_one: AllInOneProcess, tmp_path: Path, change: str
) -> None:
    spoil, reason = CHANGES[change]
    async with pair(all_in_one, tmp_path) as (ann, bo, chat):
        await befriend(ann, bo)
        message_id = await post(bo, await sealed(bo, chat, words(chat, "spoiled")), spoil)
        await bo.send_text(chat, "behind it")
        events = await events_until(ann, Message)
        became = await fate(bo, message_id)

    assert events[-1].body["text"] == "behind it"
    assert [event.reason for event in events if isinstance(event, Unreadable)] == [reason]
    assert became == ("dropped" if reason in PARKED else "delivered")


async def test_a_message_of_another_conversation_or_without_sense_is_set_aside(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat):
        await befriend(ann, bo)
        group = await bo.groups.create([ann.user_id], "elsewhere")
        nonsense = await sealed(bo, chat, b"no JSON at all")
        elsewhere = await sealed(bo, group, words(chat, "not for here"))
        became = [await post(bo, each) for each in (nonsense, elsewhere)]
        await bo.send_text(chat, "behind it")
        events = await events_until(ann, Message)
        fates = [await fate(bo, each) for each in became]

    assert [event.reason for event in events if isinstance(event, Unreadable)] == ["BadContent", "ContextMismatch"]
    assert fates == ["dropped", "dropped"]


async def test_a_message_that_comes_twice_is_read_once_also_after_a_restart(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (_, bo, chat):
        body = await sealed(bo, chat, words(chat, "once"))
        for _again in range(3):
            await post(bo, body)
        await bo.send_text(chat, "behind it")
        await bo.sent()

    async with open_client(all_in_one, tmp_path / "ann") as ann:
        assert await next_texts(ann, 2) == ["once", "behind it"]
