"""What the SDK promises to bots: everything that is sent is sent once under its id, a handler that raises does not stop the rest, and a changed key is not forgotten."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import next_texts, open_client, register
from vyry.client.api.client import Client, Profile
from vyry.client.errors import NotRegistered, Unreachable
from vyry.client.store.events import Event, IdentityChanged, Message


pytestmark = pytest.mark.timeout(120)


async def until(client: Client, is_it: Callable[[Event], bool]) -> Event:
    """The next event of which that is true."""
    async with asyncio.timeout(60):
        async for event in client.events():
            if is_it(event):
                return event
    raise AssertionError("events end with the client")


async def test_everything_that_is_sent_is_sent_once_under_its_id(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"a picture")
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        await register(ann, all_in_one)
        chat = await ann.direct(await register(bo, all_in_one))
        text, picture, group = uuid4(), uuid4(), uuid4()
        made = [await ann.groups.create([bo.user_id], title, id=group) for title in ("Walks", "Walks", "Talks")]
        for _ in range(2):
            assert await ann.send_text(chat, "once", text) == text
            assert await ann.messages.text(chat, "once", id=text) == text
            assert await ann.files.send(chat, file, "look", id=picture) == picture
        await ann.send_text(chat, "end")

        assert await next_texts(bo, 3) == ["once", "look", "end"]
        assert len({*made}) == 1


async def test_a_file_that_was_said_when_the_process_ended_is_not_said_again(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"a picture")
    async with open_client(all_in_one, tmp_path / "bo") as bo:
        bo_id = await register(bo, all_in_one)
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await register(ann, all_in_one)
            chat = await ann.direct(bo_id)
            ann.files._uploads.delete = lambda _: 1 / 0  # type: ignore[assignment,method-assign]  # as a kill there
            with pytest.raises(ZeroDivisionError):
                await ann.files.send(chat, file, "look")
            await ann.sent()
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            first = await ann.files.send(chat, file, "look")
            assert await ann.files.send(chat, file, "look") != first
            await ann.send_text(chat, "end")
            assert await next_texts(bo, 3) == ["look", "look", "end"]


async def test_events_of_a_profile_without_an_account_raise(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "nobody") as nobody:
        for follow in (True, False):
            with pytest.raises(NotRegistered):
                await anext(nobody.events(follow=follow))
        with pytest.raises(NotRegistered):
            await nobody.run(print)  # type: ignore[arg-type]  # it hears nothing


async def test_what_a_handler_raises_at_is_put_aside_and_the_rest_goes_on(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    heard: list[str] = []
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        await register(ann, all_in_one)
        chat = await ann.direct(await register(bo, all_in_one))
        sent = [await ann.send_text(chat, word) for word in ("away", "bad", "end")]

        async def hear(event: Event) -> None:
            if isinstance(event, Message):
                heard.append(event.text)
                if heard == ["away"]:
                    raise Unreachable("The node is away.")
                if event.text == "bad":
                    raise ValueError
                if event.text == "end":
                    bo.stop()

        await bo.run(hear, tries=2)
        aside = bo.dead_letters.all()

    assert (len(sent), heard) == (3, ["away", "away", "bad", "bad", "end"])
    assert [(each.error, each.tries, each.event.body["text"]) for each in aside] == [("ValueError", 2, "bad")]
    await _retried_and_dropped(all_in_one, tmp_path / "bo", aside[0].number)


async def _retried_and_dropped(all_in_one: AllInOneProcess, folder: Path, number: int) -> None:
    """It is not met at the next start; retried, it is the next one; dropped, it is gone."""
    async with open_client(all_in_one, folder) as bo:
        assert [event async for event in bo.events(follow=False) if isinstance(event, Message)] == []
        assert [each.number for each in bo.dead_letters.all()] == [number]
        assert bo.dead_letters.retry(number)
        assert (await anext(bo.events())).number == number
        assert (bo.dead_letters.all(), bo.dead_letters.drop(number)) == ([], False)


async def _with_a_new_key(all_in_one: AllInOneProcess, tmp_path: Path) -> tuple[UUID, UUID]:
    """Ann has a chat with Bo, whose account has another key since."""
    number = unused_number()
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        async with open_client(all_in_one, tmp_path / "bo") as bo:
            bo_id = await register(bo, all_in_one, number)
            chat = await ann.direct(bo_id)
            await ann.send_text(chat, "before")
            assert await next_texts(bo, 1) == ["before"]
    async with open_client(all_in_one, tmp_path / "bo anew") as bo:
        await register(bo, all_in_one, number)
    return chat, bo_id


async def test_a_changed_key_says_what_waits_behind_it_after_each_start(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    chat, bo_id = await _with_a_new_key(all_in_one, tmp_path)
    counts: list[int] = []
    for number in range(3):
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            await ann.send_text(chat, f"waits {number}")
            await ann.sent()
            told = await until(ann, lambda event: isinstance(event, IdentityChanged))
            assert isinstance(told, IdentityChanged)
            assert told.user_id == bo_id
            counts.append(told.waiting)
            await anext(ann.events(follow=False), None)

    assert counts == [1, 2, 3]


async def test_a_bot_goes_on_with_a_changed_key_if_its_policy_says_so(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    chat, _ = await _with_a_new_key(all_in_one, tmp_path)
    profile = Profile(tmp_path / "ann", all_in_one.url)
    async with (
        Client.open(profile, on_changed_key="accept") as ann,
        open_client(all_in_one, tmp_path / "bo anew") as bo,
    ):
        said = await ann.send_text(chat, "after")
        assert said not in await ann.sent()
        assert await next_texts(bo, 1) == ["after"]


async def test_a_key_that_was_compared_is_not_replaced_by_a_policy(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
    async with open_client(all_in_one, tmp_path / "bo") as bo:
        number = unused_number()
        bo_id = await register(bo, all_in_one, number)
        async with open_client(all_in_one, tmp_path / "ann") as ann:
            chat = await ann.direct(bo_id)
            await ann.send_text(chat, "before")
            await ann.sent()
            await ann.safety.verify(bo_id, await ann.safety.number(bo_id))
    async with open_client(all_in_one, tmp_path / "bo anew") as bo:
        await register(bo, all_in_one, number)

    async with Client.open(Profile(tmp_path / "ann", all_in_one.url), on_changed_key="accept") as ann:
        said = await ann.send_text(chat, "waits")

        assert (await ann.sent())[said] == "IdentityChanged"
