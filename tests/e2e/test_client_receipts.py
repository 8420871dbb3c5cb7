"""Who is told by a client that something has come: whoever was answered, and friends; strangers and the blocked are not."""

from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.sdk_clients import events_until, open_client, pair, register
from vyry.client.api.client import Client
from vyry.client.store.events import Message, Receipt


pytestmark = pytest.mark.timeout(120)


async def process_events(client: Client) -> None:
    """Take what has come, and do what is to be done about it."""
    await events_until(client, Message)
    assert [event async for event in client.events(follow=False)]
    await client.sent()


async def delivered_texts(client: Client) -> set[UUID]:
    """What was told as delivered before the next message."""
    events = await events_until(client, Message)
    return {target for each in events if isinstance(each, Receipt) for target in each.targets}


async def test_a_stranger_is_not_told_that_something_has_come_before_they_are_answered(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        await register(ann, all_in_one)
        chat = await ann.direct(await register(bo, all_in_one))
        first = await ann.send_text(chat, "are you there?")
        await process_events(bo)
        await bo.send_text(chat, "who asks?")
        before = await delivered_texts(ann)
        assert [event async for event in ann.events(follow=False)]

        second = await ann.send_text(chat, "Ann")
        await process_events(bo)
        await bo.send_text(chat, "hello Ann")

        assert (first in before, second in await delivered_texts(ann)) == (False, True)


async def test_whose_setting_is_off_tells_nobody_that_something_has_come(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat):
        await bo.account.update(settings={"deliveryReceipts": False})
        said = await ann.send_text(chat, "are you there?")
        await process_events(bo)
        await bo.send_text(chat, "yes")

        assert said not in await delivered_texts(ann)


async def test_in_a_group_too_nothing_is_told_across_a_block(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, _):
        group = await ann.groups.create([bo.user_id], "together")
        await bo.send_text(group, "hello all")
        await process_events(ann)
        await bo.people.block(ann.user_id)
        said = await ann.send_text(group, "are you there?")
        await process_events(bo)
        await bo.send_text(group, "I speak to the others")

        assert said not in await delivered_texts(ann)
