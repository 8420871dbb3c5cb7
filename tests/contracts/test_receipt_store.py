"""What every store promises that knows who lets whom know what has come: see ReceiptStore, and ConversationStore.note_writers."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.directory_harness import NOON, DirectoryHarness, open_directory
from vyry.kernel.ids import ConversationId, UserId, new_id


@pytest.fixture
async def harness(mail_url: str | None) -> AsyncIterator[DirectoryHarness]:
    async with open_directory(mail_url) as harness:
        yield harness


@pytest.fixture
async def ann(harness: DirectoryHarness) -> UserId:
    return await harness.add_account()


@pytest.fixture
async def bo(harness: DirectoryHarness) -> UserId:
    return await harness.add_account()


async def together(harness: DirectoryHarness, one: UserId, other: UserId) -> ConversationId:
    return (await harness.conversations.open_direct(one, other, NOON))[0].conversation_id


async def test_what_has_come_to_a_stranger_is_shown_once_they_have_written_there(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    chat = await together(harness, ann, bo)
    before = await harness.receipts.filter_visible(ann, [(chat, bo)])

    await harness.conversations.note_writers([(chat, bo), (chat, bo)])

    assert (before, await harness.receipts.filter_visible(ann, [(chat, bo)])) == (set(), {(chat, bo)})
    assert await harness.receipts.filter_visible(bo, [(chat, ann)]) == set()


async def test_writing_in_one_conversation_opens_no_other(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    chat = await together(harness, ann, bo)
    group = (await harness.groups.create(ann, [bo], (), None, NOON)).conversation_id

    await harness.conversations.note_writers([(group, bo), (chat, ann)])

    assert await harness.receipts.filter_visible(ann, [(chat, bo), (group, bo)]) == {(group, bo)}


async def test_whoever_is_no_member_has_not_written(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    chat, stranger = await together(harness, ann, bo), await harness.add_account()
    nowhere = ConversationId(new_id())

    await harness.conversations.note_writers([(chat, stranger), (nowhere, bo)])

    assert await harness.receipts.filter_visible(ann, [(chat, stranger), (nowhere, bo)]) == set()


async def test_friends_show_it_everywhere(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    chat = await together(harness, ann, bo)
    await harness.friends.send_request(ann, bo, NOON)
    asked = await harness.receipts.filter_visible(ann, [(chat, bo)])

    await harness.friends.accept(bo, ann, NOON)

    assert (asked, await harness.receipts.filter_visible(ann, [(chat, bo)])) == (set(), {(chat, bo)})


@pytest.mark.parametrize("is_asker", [True, False], ids=["blocks", "is blocked"])
async def test_nothing_is_shown_across_a_block(
    harness: DirectoryHarness, ann: UserId, bo: UserId, is_asker: bool
) -> None:
    chat = await together(harness, ann, bo)
    await harness.conversations.note_writers([(chat, bo)])
    blocker, blocked = (ann, bo) if is_asker else (bo, ann)

    await harness.blocks.block(blocker, blocked, NOON)

    assert await harness.receipts.filter_visible(ann, [(chat, bo)]) == set()
    await harness.blocks.unblock(blocker, blocked)
    assert await harness.receipts.filter_visible(ann, [(chat, bo)]) == {(chat, bo)}


async def test_whose_setting_is_off_shows_it_to_nobody(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    chat = await together(harness, ann, bo)
    await harness.conversations.note_writers([(chat, bo)])
    await harness.friends.send_request(ann, bo, NOON)
    await harness.friends.accept(bo, ann, NOON)

    await harness.hide_receipts(bo)

    assert await harness.receipts.filter_visible(ann, [(chat, bo)]) == set()


async def test_whoever_comes_back_into_a_group_has_not_written_there(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    group = await harness.groups.create(ann, [bo], (), None, NOON)
    key = group.conversation_id
    await harness.conversations.note_writers([(key, bo)])
    alone = {user: each for user, each in group.members.items() if user != bo}

    await harness.groups.change(key, lambda present: replace(present, members=alone), NOON)
    await harness.groups.change(key, lambda present: replace(present, members=group.members), NOON)

    assert await harness.receipts.filter_visible(ann, [(key, bo)]) == set()
