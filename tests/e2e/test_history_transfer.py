"""The history on a new device: sent by the device that approved it, imported once, and continued after either side or the node was killed."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.sdk_clients import next_texts, open_client, register
from vyry.client.api.client import Client
from vyry.client.api.linking import HistoryRange
from vyry.client.store.events import ContentEvent, Target


pytestmark = pytest.mark.timeout(240)
Shown = list[tuple[str, UUID, str]]


async def link_with(device: Client, new: Client, history: HistoryRange) -> None:
    attempt = await new.links.begin("a laptop")
    scanned = await device.links.scan(attempt.uri)
    assert scanned.matches(await attempt.code())
    await scanned.approve(history=history)
    await attempt.complete()


def history_of(client: Client, chat: UUID) -> Shown:
    """What a device shows of a conversation, in its order."""
    events = [each for each in client.conversations.history(chat, 10_000) if isinstance(each, ContentEvent)]
    return [(each.name, each.id, str(each.body.get("text", each.body.get("emoji", "")))) for each in events]


async def converse(node: AllInOneProcess, ann: Client, bo: Client) -> UUID:
    """A conversation with 122 messages, a reaction and an edit."""
    await register(ann, node)
    chat = await ann.direct(await register(bo, node))
    sent = [await ann.send_text(chat, f"line {number}") for number in range(120)][-1]
    await bo.send_text(chat, "an answer")
    assert await next_texts(ann, 1) == ["an answer"]
    answer = next(each for each in ann.conversations.history(chat, 1) if isinstance(each, ContentEvent))
    await ann.messages.react(chat, answer.target, "👍")
    await ann.messages.edit(chat, Target(sent, ann.user_id), "the last line")
    await ann.sent()
    return chat


async def has_same_history(one: Client, other: Client, chat: UUID) -> None:
    """Come back when both show the same."""
    async with asyncio.timeout(60):
        async for _ in one.events(follow=False):
            pass
        async for _ in other.events(follow=False):
            pass
    assert history_of(one, chat) == history_of(other, chat)


async def test_a_new_device_shows_what_the_old_one_shows_and_mail_goes_on(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with (
        open_client(all_in_one, tmp_path / "ann") as ann,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
        open_client(all_in_one, tmp_path / "bo") as bo,
    ):
        chat = await converse(all_in_one, ann, bo)
        await link_with(ann, laptop, "all")
        await bo.send_text(chat, "while it is sent")
        async with asyncio.timeout(60):
            await ann.history.wait()
            await laptop.history.wait()
        await bo.send_text(chat, "afterwards")
        assert await next_texts(laptop, 2) == ["while it is sent", "afterwards"]
        # The last event that Ann's program had is delivered again.
        assert await next_texts(ann, 3) == ["an answer", "while it is sent", "afterwards"]
        await has_same_history(ann, laptop, chat)
        found = await laptop.messages.search("LAST line")

        assert len(history_of(laptop, chat)) == 125
        assert [each.message.text for each in found] == ["the last line"]
        assert not laptop.history.is_pending
        assert list((tmp_path / "laptop" / "history").glob("*")) == list((tmp_path / "ann" / "history").glob("*")) == []


async def test_without_the_offer_a_new_device_has_no_history(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with (
        open_client(all_in_one, tmp_path / "ann") as ann,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
        open_client(all_in_one, tmp_path / "bo") as bo,
    ):
        await register(ann, all_in_one)
        chat = await ann.direct(await register(bo, all_in_one))
        await ann.send_text(chat, "earlier")
        await ann.sent()
        await link_with(ann, laptop, None)

        assert await laptop.history.wait() is False
        assert history_of(laptop, chat) == []
