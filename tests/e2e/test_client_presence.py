"""What devices of the SDK tell each other besides mail: who types, who is there, and what was read."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import events_until, link_clients, next_texts, open_client, pair, register
from vyry.client.api.client import Client
from vyry.client.errors import ClientError, Refused
from vyry.client.store.events import Message, Notice, Presence, Read, Receipt, Target, Typing
from vyry.client.transport.live_signals import MAX_WATCHED


pytestmark = pytest.mark.timeout(120)


async def test_whoever_types_is_seen_at_once_and_kept_nowhere(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat):
        await ann.messages.typing(chat)
        began = (await events_until(bo, Typing))[-1]
        await ann.messages.typing(chat, is_typing=False)
        over, ann_id = (await events_until(bo, Typing))[-1], ann.user_id
        left = [event.name async for event in bo.events(follow=False)]

    assert began == Typing(conversation_id=chat, user_id=ann_id, device_id=1, is_typing=True)
    assert (over.body["isTyping"], over.number, "typing" in left) == (False, 0, False)


async def friends(one: Client, other: Client) -> None:
    await one.friends.request(other.user_id)
    await other.friends.accept(one.user_id)
    await other.account.update(settings={"showPresence": True})


async def seen(client: Client, user_id: UUID, *, is_online: bool) -> None:
    """Come back when it is told that this person is there, or away."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if event == Presence(user_id=user_id, is_online=is_online):
                return


async def test_a_friend_who_shows_it_is_seen_to_come_and_go_also_after_the_connection_was_lost(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        async with open_client(all_in_one, tmp_path / "bo") as bo:
            bo_id = await register(bo, all_in_one)
            await friends(ann, bo)
            await ann.presence.watch([bo_id])
            await seen(ann, bo_id, is_online=True)
            await asyncio.to_thread(all_in_one.kill)
            await asyncio.to_thread(all_in_one.start)
            await seen(ann, bo_id, is_online=True)
        await seen(ann, bo_id, is_online=False)


async def test_nobody_watches_more_people_than_the_node_takes(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        people = [UUID(int=number) for number in range(MAX_WATCHED + 1)]
        await ann.presence.watch(people[:-1])
        with pytest.raises(ClientError, match="unwatch"):
            await ann.presence.watch(people)
        await ann.presence.unwatch(people[:1])
        await ann.presence.watch(people[-1:])


async def test_what_was_read_is_told_once_to_its_sender_and_to_own_devices(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), open_client(all_in_one, tmp_path / "laptop") as laptop:
        await link_clients(bo, laptop)
        await events_until(bo, Notice)
        said = Target(await ann.messages.text(chat, "read me"), ann.user_id)
        assert await next_texts(bo, 1) == ["read me"]

        for _ in range(2):
            await bo.messages.read(chat, [said])
        on_laptop = (await events_until(laptop, Read))[-1]
        await bo.send_text(chat, "so it is")
        told = [
            each.state
            for each in await events_until(ann, Message)
            if isinstance(each, Receipt) and said.id in each.targets
        ]

    assert on_laptop.body == {"conversationId": str(chat), "targets": [said.as_json()]}
    assert told.count("read") == 1


async def test_who_tells_nobody_what_was_read_tells_own_devices_alone(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), open_client(all_in_one, tmp_path / "laptop") as laptop:
        await link_clients(bo, laptop)
        await events_until(bo, Notice)
        await bo.account.update(settings={"readReceipts": False})
        said = Target(await ann.messages.text(chat, "read me"), ann.user_id)
        assert await next_texts(bo, 1) == ["read me"]

        await bo.messages.read(chat, [said])
        await events_until(laptop, Read)
        await bo.send_text(chat, "said later")
        told = [each.state for each in await events_until(ann, Message) if isinstance(each, Receipt)]

    assert "read" not in told


async def test_a_locked_number_is_signed_up_with_its_pin_alone(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    number, pin = unused_number(), "correct horse 7"

    async def read_pin() -> str:
        return pin

    async with open_client(all_in_one, tmp_path / "ann") as ann:
        ann_id = await register(ann, all_in_one, number)
        standing = await ann.account.set_pin(pin, registration_lock=True)
    async with open_client(all_in_one, tmp_path / "anew") as anew:
        with pytest.raises(Refused, match="PIN_REQUIRED"):
            await register(anew, all_in_one, number)
        again = await register(anew, all_in_one, number, read_pin)
        after = await anew.account.remove_pin(pin)

    assert (standing["isSet"], standing["registrationLock"], again, after["isSet"]) == (True, True, ann_id, False)
