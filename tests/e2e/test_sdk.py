"""The SDK against a real node: two people chat, whatever is killed or away in between."""

import asyncio
from pathlib import Path

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import events_until, next_texts, open_client, register
from vyry.client.api.client import Client, Profile
from vyry.client.errors import StoreLocked
from vyry.client.store.events import ContentEvent, Event, Reaction, Receipt, Target, Unsend


pytestmark = pytest.mark.timeout(120)


async def test_two_people_chat(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        await register(ann, all_in_one)
        bo_id = await register(bo, all_in_one)
        chat = await ann.direct(bo_id)

        for number in range(20):
            await ann.send_text(chat, f"to bo {number}")
        assert await next_texts(bo, 20) == [f"to bo {number}" for number in range(20)]

        await bo.send_text(chat, "to ann")
        assert await next_texts(ann, 1) == ["to ann"]


async def test_what_is_sent_while_the_node_is_away_arrives_once_it_is_back(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        await register(ann, all_in_one)
        chat = await ann.direct(await register(bo, all_in_one))
        await ann.send_text(chat, "before")
        await ann.sent()

        await asyncio.to_thread(all_in_one.kill)
        for number in range(3):
            await ann.send_text(chat, f"meanwhile {number}")
        await asyncio.to_thread(all_in_one.start)

        assert await next_texts(bo, 4) == ["before", *(f"meanwhile {number}" for number in range(3))]


async def test_a_client_that_was_closed_goes_on_where_it_was(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        async with open_client(all_in_one, tmp_path / "bo") as bo:
            chat = await ann.direct(await register(bo, all_in_one))
            await ann.send_text(chat, "one")
            assert await next_texts(bo, 1) == ["one"]
        for number in range(5):
            await ann.send_text(chat, f"offline {number}")
        await ann.sent()

        async with open_client(all_in_one, tmp_path / "bo") as bo:
            # The last event was not done with: it comes again, and everything behind it once.
            assert await next_texts(bo, 6) == ["one", *(f"offline {number}" for number in range(5))]


async def test_a_new_device_of_the_other_is_found_by_itself(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        number = unused_number()
        async with open_client(all_in_one, tmp_path / "bo") as bo:
            bo_id = await register(bo, all_in_one, number)
            chat = await ann.direct(bo_id)
            await ann.send_text(chat, "one")
            assert await next_texts(bo, 1) == ["one"]
        async with open_client(all_in_one, tmp_path / "bo again") as again:
            assert await register(again, all_in_one, number) == bo_id
            await ann.send_text(chat, "two")
            refused = await wait_for_failed_post(ann)

    assert refused.body["reason"] == "IdentityChanged"


async def wait_for_failed_post(client: Client) -> Event:
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.name == "notSent":
                return event
    raise AssertionError("the events ended")


async def test_one_profile_is_open_once_and_needs_its_key(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        with pytest.raises(StoreLocked, match="in use by another process"):
            async with open_client(all_in_one, tmp_path / "ann"):
                raise AssertionError("opened twice")

    other = bytes(32)
    with pytest.raises(StoreLocked, match="is wrong"):
        async with Client.open(Profile(tmp_path / "ann", all_in_one.url, other)):
            raise AssertionError("opened with another key")


async def test_nothing_that_is_kept_lies_in_clear(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        ann_id = await register(ann, all_in_one)
        bo_id = await register(bo, all_in_one)
        await ann.send_text(await ann.direct(bo_id), "the words of a canary")
        assert await next_texts(bo, 1) == ["the words of a canary"]

    for file in (*(tmp_path / "ann").iterdir(), *(tmp_path / "bo").iterdir()):
        kept = file.read_bytes()
        assert b"canary" not in kept
        assert str(ann_id).encode() not in kept
        assert str(bo_id).encode() not in kept
        assert file.stat().st_mode & 0o077 == 0 or file.name.endswith(".lock")


async def test_what_is_said_is_changed_taken_back_and_reacted_to(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        ann_id = await register(ann, all_in_one)
        chat = await ann.conversations.direct(await register(bo, all_in_one))
        await bo.friends.request(ann_id)
        await ann.friends.accept(bo.user_id)
        first = Target(await ann.messages.text(chat, "helo"), ann_id)
        await ann.messages.edit(chat, first, "hello")
        await ann.messages.unsend(chat, Target(await ann.messages.text(chat, "oops", reply_to=first), ann_id))

        events = await events_until(bo, Unsend)
        await bo.messages.react(chat, first, "+1")
        told = await events_until(ann, Reaction)
        history = [event.body["isOwn"] for event in ann.conversations.history(chat)]

    assert [event.name for event in events if isinstance(event, ContentEvent)] == [
        "message",
        "edit",
        "message",
        "unsend",
    ]
    assert history == [True, True, True, True, False]
    assert [(each.of, each.emoji) for each in told if isinstance(each, Reaction)] == [(first, "+1")]
    assert any(isinstance(each, Receipt) and first.id in each.targets for each in told)
