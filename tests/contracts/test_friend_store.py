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
async def room(mail_url: str | None) -> AsyncIterator[DirectoryHarness]:
    async with open_directory(mail_url) as room:
        yield room


@pytest.fixture
async def ann(room: DirectoryHarness) -> UserId:
    return await room.add_account()


@pytest.fixture
async def bo(room: DirectoryHarness) -> UserId:
    return await room.add_account()


async def friends_of(room: DirectoryHarness, user: UserId) -> list[UserId]:
    return [each.person.user_id for each in (await room.friends.list_friends(user, 200, None)).friends]


async def incoming_requests(room: DirectoryHarness, user: UserId) -> list[UserId]:
    """The senders of the user's incoming requests."""
    page = await room.friends.list_requests(user, RequestDirection.INCOMING, 200, None)
    return [each.user_id for each in page.requests]


async def outgoing_requests(room: DirectoryHarness, user: UserId) -> list[UserId]:
    """The targets of the user's outgoing requests."""
    page = await room.friends.list_requests(user, RequestDirection.OUTGOING, 200, None)
    return [each.user_id for each in page.requests]


async def test_a_request_waits_until_it_is_accepted(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    assert not await room.friends.send_request(ann, bo, NOON)
    assert (await incoming_requests(room, bo), await outgoing_requests(room, ann), await friends_of(room, bo)) == (
        [ann],
        [bo],
        [],
    )

    await room.friends.accept(bo, ann, LATER)

    assert (await incoming_requests(room, bo), await outgoing_requests(room, ann)) == ([], [])
    page = await room.friends.list_friends(ann, 10, None)
    assert [(each.person.user_id, each.since) for each in page.friends] == [(bo, LATER)]
    assert await friends_of(room, bo) == [ann]


async def test_two_who_ask_each_other_are_friends(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await room.friends.send_request(ann, bo, NOON)

    assert await room.friends.send_request(bo, ann, LATER)

    assert (await friends_of(room, ann), await friends_of(room, bo)) == ([bo], [ann])
    assert (await incoming_requests(room, ann), await incoming_requests(room, bo)) == ([], [])


async def test_asking_again_changes_nothing(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await room.friends.send_request(ann, bo, NOON)
    await room.friends.send_request(ann, bo, LATER)

    page = await room.friends.list_requests(bo, RequestDirection.INCOMING, 10, None)
    await room.friends.accept(bo, ann, NOON)
    await room.friends.accept(bo, ann, LATER)

    assert [(each.user_id, each.at) for each in page.requests] == [(ann, NOON)]
    assert await room.friends.send_request(ann, bo, LATER)
    assert (await room.friends.list_friends(ann, 10, None)).friends[0].since == NOON


async def test_who_is_asked_shows_nothing_of_themselves(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await room.friends.send_request(ann, bo, NOON)

    outgoing = (await room.friends.list_requests(ann, RequestDirection.OUTGOING, 10, None)).requests[0]
    incoming = (await room.friends.list_requests(bo, RequestDirection.INCOMING, 10, None)).requests[0]

    assert outgoing.person is None
    assert incoming.person is not None
    assert incoming.person.user_id == ann


async def test_a_dropped_request_is_gone_for_both(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await room.friends.send_request(ann, bo, NOON)

    await room.friends.delete_request(ann, bo)

    assert (await incoming_requests(room, bo), await outgoing_requests(room, ann)) == ([], [])
    for gone in (room.friends.delete_request(ann, bo), room.friends.accept(bo, ann, NOON)):
        with pytest.raises(NotFound):
            await gone


async def test_who_asked_cannot_answer(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await room.friends.send_request(ann, bo, NOON)

    for attempt in (room.friends.accept(ann, bo, NOON), room.friends.delete_request(bo, ann)):
        with pytest.raises(NotFound):
            await attempt

    assert await incoming_requests(room, bo) == [ann]


async def test_a_friendship_ends_for_both(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    await room.friends.send_request(ann, bo, NOON)
    await room.friends.accept(bo, ann, NOON)

    await room.friends.remove(bo, ann)

    assert (await friends_of(room, ann), await friends_of(room, bo)) == ([], [])
    with pytest.raises(NotFound):
        await room.friends.remove(ann, bo)


async def test_nobody_asks_somebody_who_is_not_there(room: DirectoryHarness, ann: UserId) -> None:
    for attempt in (
        room.friends.send_request(ann, UserId(new_id()), NOON),
        room.friends.is_new_contact(ann, UserId(new_id())),
    ):
        with pytest.raises(NotFound):
            await attempt

    assert await outgoing_requests(room, ann) == []


async def test_strangers_are_those_who_have_nothing_to_do_with_each_other(
    room: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    cy, dee = await room.add_account(), await room.add_account()
    before = await room.friends.is_new_contact(ann, bo)
    await room.friends.send_request(ann, bo, NOON)
    await room.conversations.open_direct(cy, ann, NOON)
    await room.friends.send_request(dee, ann, NOON)
    await room.friends.accept(ann, dee, NOON)

    assert before
    for pair in ((ann, bo), (bo, ann), (ann, cy), (ann, dee)):
        assert not await room.friends.is_new_contact(*pair)


async def test_lists_come_in_pages(room: DirectoryHarness, ann: UserId) -> None:
    others = sorted([await room.add_account() for _ in range(3)])
    for other in others:
        await room.friends.send_request(other, ann, NOON)
        await room.blocks.block(other, ann, NOON) if other == others[2] else await room.friends.accept(ann, other, NOON)
    await room.blocks.block(ann, others[0], NOON)
    await room.blocks.block(ann, others[1], NOON)

    first = await room.blocks.list(ann, 1, None)
    second = await room.blocks.list(ann, 1, first.next_cursor)

    assert [each.user_id for page in (first, second) for each in page.blocks] == others[:2]
    assert (first.next_cursor, second.next_cursor) == (others[0], None)


async def test_friends_and_requests_come_in_pages(room: DirectoryHarness, ann: UserId) -> None:
    others = sorted([await room.add_account() for _ in range(3)])
    for other in others:
        await room.friends.send_request(other, ann, NOON)
    requests = await room.friends.list_requests(ann, RequestDirection.INCOMING, 2, None)
    for other in others:
        await room.friends.accept(ann, other, NOON)

    first = await room.friends.list_friends(ann, 2, None)
    last = await room.friends.list_friends(ann, 2, first.next_cursor)

    assert ([each.user_id for each in requests.requests], requests.next_cursor) == (others[:2], others[1])
    assert [each.person.user_id for page in (first, last) for each in page.friends] == others
    assert (first.next_cursor, last.next_cursor) == (others[1], None)


async def test_a_block_ends_friendship_and_requests(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    cy, dee = await room.add_account(), await room.add_account()
    await room.friends.send_request(ann, bo, NOON)
    await room.friends.accept(bo, ann, NOON)
    await room.friends.send_request(ann, cy, NOON)
    await room.friends.send_request(dee, ann, NOON)

    for other in (bo, cy, dee):
        await room.blocks.block(ann, other, NOON)

    for user in (ann, bo, cy, dee):
        assert (
            await friends_of(room, user),
            await incoming_requests(room, user),
            await outgoing_requests(room, user),
        ) == ([], [], [])


@pytest.mark.parametrize("is_blocker", [True, False], ids=["the blocker", "the blocked"])
async def test_neither_finds_the_other_where_one_blocks(
    room: DirectoryHarness, ann: UserId, bo: UserId, is_blocker: bool
) -> None:
    await room.blocks.block(*((ann, bo) if is_blocker else (bo, ann)), NOON)

    for attempt in (
        room.friends.send_request(ann, bo, NOON),
        room.friends.is_new_contact(ann, bo),
        room.conversations.find_direct(ann, bo),
        room.conversations.open_direct(ann, bo, NOON),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_block_can_be_taken_back_and_leaves_them_strangers(
    room: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    await room.blocks.block(ann, bo, NOON)
    await room.blocks.unblock(ann, bo)

    assert await room.friends.is_new_contact(bo, ann)
    with pytest.raises(NotFound):
        await room.blocks.unblock(ann, bo)


async def test_a_block_bars_the_conversation_and_changes_its_version(
    room: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    opened, _ = await room.conversations.open_direct(ann, bo, NOON)
    key = opened.conversation_id

    assert await room.blocks.block(bo, ann, NOON) == key
    barred = (await room.conversations.load([key]))[key]
    assert await room.blocks.block(bo, ann, NOON) is None
    assert await room.blocks.unblock(bo, ann) == key
    after = (await room.conversations.load([key]))[key]

    seen = [(each.is_blocked, each.version) for each in (opened, barred, after)]
    assert seen == [(False, 1), (True, 2), (False, 3)]


async def test_where_both_block_one_unblocking_is_not_enough(room: DirectoryHarness, ann: UserId, bo: UserId) -> None:
    key = (await room.conversations.open_direct(ann, bo, NOON))[0].conversation_id
    await room.blocks.block(ann, bo, NOON)
    await room.blocks.block(bo, ann, NOON)

    await room.blocks.unblock(ann, bo)

    assert (await room.conversations.load([key]))[key].is_blocked


async def test_nobody_can_tell_a_blocker_from_somebody_who_is_not_there_by_blocking(
    room: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    await room.blocks.block(bo, ann, NOON)

    for other in (bo, UserId(new_id())):
        with pytest.raises(NotFound):
            await room.blocks.block(ann, other, NOON)

    assert (await room.blocks.list(ann, 10, None)).blocks == []


async def test_who_hears_from_friends_only_is_reached_by_friends_only(
    room: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    await room.accept_friends_only(bo)
    for attempt in (room.conversations.find_direct(ann, bo), room.conversations.open_direct(ann, bo, NOON)):
        with pytest.raises(Forbidden):
            await attempt

    await room.friends.send_request(ann, bo, NOON)
    await room.friends.accept(bo, ann, NOON)
    opened, is_new = await room.conversations.open_direct(ann, bo, NOON)
    await room.friends.remove(ann, bo)

    assert is_new
    assert await room.conversations.find_direct(ann, bo) == opened


async def test_there_is_an_end_to_requests_friends_and_blocks(
    room: DirectoryHarness, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_REQUESTS", "MAX_FRIENDS"):
        monkeypatch.setattr(f"vyry.storage.friends.{name}", 1)
        monkeypatch.setattr(f"tests.fakes.relationships.{name}", 1)
    for module in ("vyry.storage.blocks", "tests.fakes.relationships"):
        monkeypatch.setattr(f"{module}.MAX_BLOCKS", 1)
    cy = await room.add_account()
    await room.friends.send_request(ann, bo, NOON)
    await room.friends.send_request(ann, bo, NOON)
    with pytest.raises(Forbidden):
        await room.friends.send_request(ann, cy, NOON)

    await room.friends.accept(bo, ann, NOON)
    await room.friends.send_request(ann, cy, NOON)
    with pytest.raises(Forbidden):
        await room.friends.accept(cy, ann, NOON)
    assert await incoming_requests(room, cy) == [ann]

    await room.blocks.block(ann, bo, NOON)
    with pytest.raises(Forbidden):
        await room.blocks.block(ann, cy, NOON)


async def test_strangers_cannot_keep_others_from_asking(
    room: DirectoryHarness, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("vyry.storage.friends", "tests.fakes.relationships"):
        monkeypatch.setattr(f"{module}.MAX_REQUESTS", 2)
    known, stranger, another = ann, await room.add_account(), await room.add_account()
    await room.conversations.open_direct(known, bo, NOON)
    await room.friends.send_request(known, bo, NOON)
    await room.friends.send_request(stranger, bo, NOON + timedelta(seconds=1))
    await room.friends.send_request(stranger, bo, NOON + timedelta(seconds=2))
    assert set(await incoming_requests(room, bo)) == {known, stranger}

    await room.friends.send_request(another, bo, NOON + timedelta(seconds=3))

    assert set(await incoming_requests(room, bo)) == {known, another}


def at_noon(
    act: Callable[[UserId, UserId, datetime], Awaitable[object]], one: UserId, other: UserId
) -> Awaitable[object]:
    return act(one, other, NOON)


async def attempt(act: Awaitable[object]) -> None:
    with suppress(NotFound, Forbidden):
        await act


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_leaves_two_sides_or_none(
    room: DirectoryHarness, ann: UserId, bo: UserId, seed: int
) -> None:
    chance = random.Random(seed)
    acts: list[Callable[[UserId, UserId], Awaitable[object]]] = [
        room.friends.delete_request,
        room.friends.remove,
        room.blocks.unblock,
        partial(at_noon, room.friends.send_request),
        partial(at_noon, room.friends.accept),
        partial(at_noon, room.blocks.block),
        partial(at_noon, room.conversations.open_direct),
    ]
    pairs = [(ann, bo), (bo, ann)]

    await asyncio.gather(*(attempt(chance.choice(acts)(*chance.choice(pairs))) for _ in range(50)))

    are_friends = await friends_of(room, ann) == [bo]
    assert await friends_of(room, bo) == [ann] * are_friends
    waiting = [*await incoming_requests(room, ann), *await incoming_requests(room, bo)]
    assert len(waiting) <= (not are_friends)
    blocked = [each for user in (ann, bo) for each in (await room.blocks.list(user, 9, None)).blocks]
    for conversation in (await room.conversations.list(ann, 9, None)).conversations:
        assert conversation.is_blocked == bool(blocked)
    assert not (blocked and (are_friends or waiting))


async def test_fifty_requests_at_once_from_both_sides_are_one_friendship(
    room: DirectoryHarness, ann: UserId, bo: UserId
) -> None:
    pairs = [(ann, bo), (bo, ann)] * 25

    made = await asyncio.gather(*(room.friends.send_request(*pair, NOON) for pair in pairs))

    assert (await friends_of(room, ann), await friends_of(room, bo)) == ([bo], [ann])
    assert (await incoming_requests(room, ann), await incoming_requests(room, bo)) == ([], [])
    assert any(made)
    assert not all(made)
