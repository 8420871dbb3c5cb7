"""Contract of FriendStore and BlockStore, and of ConversationStore where it depends on them."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import pytest

from tests.support.directory_harness import NOON, DirectoryHarness, open_directory
from vyry.contacts.friends import RequestDirection
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import UserId, new_id


LATER = NOON + timedelta(hours=1)


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


async def friends_of(harness: DirectoryHarness, user: UserId) -> list[UserId]:
    return [each.person.user_id for each in (await harness.friends.list_friends(user, 200, None)).friends]


async def incoming_requests(harness: DirectoryHarness, user: UserId) -> list[UserId]:
    """The senders of the user's incoming requests."""
    page = await harness.friends.list_requests(user, RequestDirection.INCOMING, 200, None)
    return [each.user_id for each in page.requests]


async def outgoing_requests(harness: DirectoryHarness, user: UserId) -> list[UserId]:
    """The targets of the user's outgoing requests."""
    page = await harness.friends.list_requests(user, RequestDirection.OUTGOING, 200, None)
    return [each.user_id for each in page.requests]


async def test_a_request_waits_until_it_is_accepted(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    assert not await harness.friends.send_request(ann, bo, NOON)
    assert (
        await incoming_requests(harness, bo),
        await outgoing_requests(harness, ann),
        await friends_of(harness, bo),
    ) == (
        [ann],
        [bo],
        [],
    )

    await harness.friends.accept(bo, ann, LATER)

    assert (await incoming_requests(harness, bo), await outgoing_requests(harness, ann)) == ([], [])
    page = await harness.friends.list_friends(ann, 10, None)
    assert [(each.person.user_id, each.since) for each in page.friends] == [(bo, LATER)]
    assert await friends_of(harness, bo) == [ann]


async def test_two_who_ask_each_other_are_friends(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await harness.friends.send_request(ann, bo, NOON)

    assert await harness.friends.send_request(bo, ann, LATER)

    assert (await friends_of(harness, ann), await friends_of(harness, bo)) == ([bo], [ann])
    assert (await incoming_requests(harness, ann), await incoming_requests(harness, bo)) == ([], [])


async def test_asking_again_changes_nothing(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await harness.friends.send_request(ann, bo, NOON)
    await harness.friends.send_request(ann, bo, LATER)

    page = await harness.friends.list_requests(bo, RequestDirection.INCOMING, 10, None)
    await harness.friends.accept(bo, ann, NOON)
    await harness.friends.accept(bo, ann, LATER)

    assert [(each.user_id, each.at) for each in page.requests] == [(ann, NOON)]
    assert await harness.friends.send_request(ann, bo, LATER)
    assert (await harness.friends.list_friends(ann, 10, None)).friends[0].since == NOON


async def test_who_is_asked_shows_nothing_of_themselves(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await harness.friends.send_request(ann, bo, NOON)

    outgoing = (await harness.friends.list_requests(ann, RequestDirection.OUTGOING, 10, None)).requests[0]
    incoming = (await harness.friends.list_requests(bo, RequestDirection.INCOMING, 10, None)).requests[0]

    assert outgoing.person is None
    assert incoming.person is not None
    assert incoming.person.user_id == ann


async def test_a_dropped_request_is_gone_for_both(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await harness.friends.send_request(ann, bo, NOON)

    await harness.friends.delete_request(ann, bo)

    assert (await incoming_requests(harness, bo), await outgoing_requests(harness, ann)) == ([], [])
    for gone in (harness.friends.delete_request(ann, bo), harness.friends.accept(bo, ann, NOON)):
        with pytest.raises(NotFound):
            await gone


async def test_who_asked_cannot_answer(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await harness.friends.send_request(ann, bo, NOON)

    for attempt in (harness.friends.accept(ann, bo, NOON), harness.friends.delete_request(bo, ann)):
        with pytest.raises(NotFound):
            await attempt

    assert await incoming_requests(harness, bo) == [ann]


async def test_a_friendship_ends_for_both(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await harness.friends.send_request(ann, bo, NOON)
    await harness.friends.accept(bo, ann, NOON)

    await harness.friends.remove(bo, ann)

    assert (await friends_of(harness, ann), await friends_of(harness, bo)) == ([], [])
    with pytest.raises(NotFound):
        await harness.friends.remove(ann, bo)


async def test_nobody_asks_somebody_who_is_not_there(harness: DirectoryHarness, ann: UserId) -> None:
    for attempt in (
        harness.friends.send_request(ann, UserId(new_id()), NOON),
        harness.friends.is_new_contact(ann, UserId(new_id())),
    ):
        with pytest.raises(NotFound):
            await attempt

    assert await outgoing_requests(harness, ann) == []


async def test_strangers_are_those_who_have_nothing_to_do_with_each_other(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    cy, dee = await harness.add_account(), await harness.add_account()
    before = await harness.friends.is_new_contact(ann, bo)
    await harness.friends.send_request(ann, bo, NOON)
    await harness.conversations.open_direct(cy, ann, NOON)
    await harness.friends.send_request(dee, ann, NOON)
    await harness.friends.accept(ann, dee, NOON)

    assert before
    for pair in ((ann, bo), (bo, ann), (ann, cy), (ann, dee)):
        assert not await harness.friends.is_new_contact(*pair)


async def test_lists_come_in_pages(harness: DirectoryHarness, ann: UserId) -> None:
    others = sorted([await harness.add_account() for _ in range(3)])
    for other in others:
        await harness.friends.send_request(other, ann, NOON)
        await harness.blocks.block(other, ann, NOON) if other == others[2] else await harness.friends.accept(
            ann, other, NOON
        )
    await harness.blocks.block(ann, others[0], NOON)
    await harness.blocks.block(ann, others[1], NOON)

    first = await harness.blocks.list(ann, 1, None)
    second = await harness.blocks.list(ann, 1, first.next_cursor)

    assert [each.user_id for page in (first, second) for each in page.blocks] == others[:2]
    assert (first.next_cursor, second.next_cursor) == (others[0], None)


async def test_friends_and_requests_come_in_pages(harness: DirectoryHarness, ann: UserId) -> None:
    others = sorted([await harness.add_account() for _ in range(3)])
    for other in others:
        await harness.friends.send_request(other, ann, NOON)
    requests = await harness.friends.list_requests(ann, RequestDirection.INCOMING, 2, None)
    for other in others:
        await harness.friends.accept(ann, other, NOON)

    first = await harness.friends.list_friends(ann, 2, None)
    last = await harness.friends.list_friends(ann, 2, first.next_cursor)

    assert ([each.user_id for each in requests.requests], requests.next_cursor) == (others[:2], others[1])
    assert [each.person.user_id for page in (first, last) for each in page.friends] == others
    assert (first.next_cursor, last.next_cursor) == (others[1], None)


async def test_a_block_ends_friendship_and_requests(harness: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    cy, dee = await harness.add_account(), await harness.add_account()
    await harness.friends.send_request(ann, bo, NOON)
    await harness.friends.accept(bo, ann, NOON)
    await harness.friends.send_request(ann, cy, NOON)
    await harness.friends.send_request(dee, ann, NOON)

    for other in (bo, cy, dee):
        await harness.blocks.block(ann, other, NOON)

    for user in (ann, bo, cy, dee):
        assert (
            await friends_of(harness, user),
            await incoming_requests(harness, user),
            await outgoing_requests(harness, user),
        ) == ([], [], [])


@pytest.mark.parametrize("is_blocker", [True, False], ids=["the blocker", "the blocked"])
async def test_neither_finds_the_other_where_one_blocks(
    harness: DirectoryHarness, ann: UserId, bo: UserId, is_blocker: bool
) -> None:
    await harness.blocks.block(*((ann, bo) if is_blocker else (bo, ann)), NOON)

    for attempt in (
        harness.friends.send_request(ann, bo, NOON),
        harness.friends.is_new_contact(ann, bo),
        harness.conversations.find_direct(ann, bo),
        harness.conversations.open_direct(ann, bo, NOON),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_block_can_be_taken_back_and_leaves_them_strangers(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    await harness.blocks.block(ann, bo, NOON)
    await harness.blocks.unblock(ann, bo)

    assert await harness.friends.is_new_contact(bo, ann)
    with pytest.raises(NotFound):
        await harness.blocks.unblock(ann, bo)


async def test_a_block_bars_the_conversation_and_changes_its_version(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    opened, _ = await harness.conversations.open_direct(ann, bo, NOON)
    key = opened.conversation_id

    assert await harness.blocks.block(bo, ann, NOON) == key
    barred = (await harness.conversations.load([key]))[key]
    assert await harness.blocks.block(bo, ann, NOON) is None
    assert await harness.blocks.unblock(bo, ann) == key
    after = (await harness.conversations.load([key]))[key]

    seen = [(each.is_blocked, each.version) for each in (opened, barred, after)]
    assert seen == [(False, 1), (True, 2), (False, 3)]


async def test_where_both_block_one_unblocking_is_not_enough(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    key = (await harness.conversations.open_direct(ann, bo, NOON))[0].conversation_id
    await harness.blocks.block(ann, bo, NOON)
    await harness.blocks.block(bo, ann, NOON)

    await harness.blocks.unblock(ann, bo)

    assert (await harness.conversations.load([key]))[key].is_blocked


async def test_nobody_can_tell_a_blocker_from_somebody_who_is_not_there_by_blocking(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    await harness.blocks.block(bo, ann, NOON)

    for other in (bo, UserId(new_id())):
        with pytest.raises(NotFound):
            await harness.blocks.block(ann, other, NOON)

    assert (await harness.blocks.list(ann, 10, None)).blocks == []


async def test_who_hears_from_friends_only_is_reached_by_friends_only(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    await harness.accept_friends_only(bo)
    for attempt in (harness.conversations.find_direct(ann, bo), harness.conversations.open_direct(ann, bo, NOON)):
        with pytest.raises(Forbidden):
            await attempt

    await harness.friends.send_request(ann, bo, NOON)
    await harness.friends.accept(bo, ann, NOON)
    opened, is_new = await harness.conversations.open_direct(ann, bo, NOON)
    await harness.friends.remove(ann, bo)

    assert is_new
    assert await harness.conversations.find_direct(ann, bo) == opened


async def test_there_is_an_end_to_requests_friends_and_blocks(
    harness: DirectoryHarness, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_REQUESTS", "MAX_FRIENDS"):
        monkeypatch.setattr(f"vyry.storage.friends.{name}", 1)
        monkeypatch.setattr(f"tests.fakes.relationships.{name}", 1)
    for module in ("vyry.storage.blocks", "tests.fakes.relationships"):
        monkeypatch.setattr(f"{module}.MAX_BLOCKS", 1)
    cy = await harness.add_account()
    await harness.friends.send_request(ann, bo, NOON)
    await harness.friends.send_request(ann, bo, NOON)
    with pytest.raises(Forbidden):
        await harness.friends.send_request(ann, cy, NOON)

    await harness.friends.accept(bo, ann, NOON)
    await harness.friends.send_request(ann, cy, NOON)
    with pytest.raises(Forbidden):
        await harness.friends.accept(cy, ann, NOON)
    assert await incoming_requests(harness, cy) == [ann]

    await harness.blocks.block(ann, bo, NOON)
    with pytest.raises(Forbidden):
        await harness.blocks.block(ann, cy, NOON)


async def test_strangers_cannot_keep_others_from_asking(
    harness: DirectoryHarness, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("vyry.storage.friends", "tests.fakes.relationships"):
        monkeypatch.setattr(f"{module}.MAX_REQUESTS", 2)
    known, stranger, another = ann, await harness.add_account(), await harness.add_account()
    await harness.conversations.open_direct(known, bo, NOON)
    await harness.friends.send_request(known, bo, NOON)
    await harness.friends.send_request(stranger, bo, NOON + timedelta(seconds=1))
    await harness.friends.send_request(stranger, bo, NOON + timedelta(seconds=2))
    assert set(await incoming_requests(harness, bo)) == {known, stranger}

    await harness.friends.send_request(another, bo, NOON + timedelta(seconds=3))

    assert set(await incoming_requests(harness, bo)) == {known, another}


def at_noon(
    act: Callable[[UserId, UserId, datetime], Awaitable[object]], one: UserId, other: UserId
) -> Awaitable[object]:
    return act(one, other, NOON)


async def attempt(act: Awaitable[object]) -> None:
    with suppress(NotFound, Forbidden):
        await act


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_leaves_two_sides_or_none(
    harness: DirectoryHarness, ann: UserId, bo: UserId, seed: int
) -> None:
    chance = random.Random(seed)
    acts: list[Callable[[UserId, UserId], Awaitable[object]]] = [
        harness.friends.delete_request,
        harness.friends.remove,
        harness.blocks.unblock,
        partial(at_noon, harness.friends.send_request),
        partial(at_noon, harness.friends.accept),
        partial(at_noon, harness.blocks.block),
        partial(at_noon, harness.conversations.open_direct),
    ]
    pairs = [(ann, bo), (bo, ann)]

    await asyncio.gather(*(attempt(chance.choice(acts)(*chance.choice(pairs))) for _ in range(50)))

    are_friends = await friends_of(harness, ann) == [bo]
    assert await friends_of(harness, bo) == [ann] * are_friends
    waiting = [*await incoming_requests(harness, ann), *await incoming_requests(harness, bo)]
    assert len(waiting) <= (not are_friends)
    blocked = [each for user in (ann, bo) for each in (await harness.blocks.list(user, 9, None)).blocks]
    for conversation in (await harness.conversations.list(ann, 9, None)).conversations:
        assert conversation.is_blocked == bool(blocked)
    assert not (blocked and (are_friends or waiting))


async def test_fifty_requests_at_once_from_both_sides_are_one_friendship(
    harness: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    pairs = [(ann, bo), (bo, ann)] * 25

    made = await asyncio.gather(*(harness.friends.send_request(*pair, NOON) for pair in pairs))

    assert (await friends_of(harness, ann), await friends_of(harness, bo)) == ([bo], [ann])
    assert (await incoming_requests(harness, ann), await incoming_requests(harness, bo)) == ([], [])
    assert any(made)
    assert not all(made)
