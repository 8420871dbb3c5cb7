"""What every store of friends and blocks promises: see FriendStore, BlockStore, and ConversationStore where it minds them."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import pytest

from tests.contracts.key_room import NOON, KeyRoom, open_key_room
from vyry.circles.friends import Direction, Standing
from vyry.errors import Forbidden, NotFound
from vyry.ids import UserId, new_id


LATER = NOON + timedelta(hours=1)


@pytest.fixture
async def room(mail_url: str | None) -> AsyncIterator[KeyRoom]:
    async with open_key_room(mail_url) as room:
        yield room


@pytest.fixture
async def ann(room: KeyRoom) -> UserId:
    return await room.person()


@pytest.fixture
async def bo(room: KeyRoom) -> UserId:
    return await room.person()


async def friends_of(room: KeyRoom, user: UserId) -> list[UserId]:
    return [each.person.user_id for each in (await room.friends.friends(user, 200, None)).friends]


async def asking(room: KeyRoom, user: UserId) -> list[UserId]:
    """Who asks the user."""
    page = await room.friends.requests(user, Direction.INCOMING, 200, None)
    return [each.user_id for each in page.requests]


async def asked(room: KeyRoom, user: UserId) -> list[UserId]:
    """Whom the user asks."""
    page = await room.friends.requests(user, Direction.OUTGOING, 200, None)
    return [each.user_id for each in page.requests]


async def test_a_request_waits_until_it_is_accepted(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    assert not await room.friends.ask(ann, bo, NOON)
    assert (await asking(room, bo), await asked(room, ann), await friends_of(room, bo)) == ([ann], [bo], [])

    await room.friends.accept(bo, ann, LATER)

    assert (await asking(room, bo), await asked(room, ann)) == ([], [])
    page = await room.friends.friends(ann, 10, None)
    assert [(each.person.user_id, each.since) for each in page.friends] == [(bo, LATER)]
    assert await friends_of(room, bo) == [ann]


async def test_two_who_ask_each_other_are_friends(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.friends.ask(ann, bo, NOON)

    assert await room.friends.ask(bo, ann, LATER)

    assert (await friends_of(room, ann), await friends_of(room, bo)) == ([bo], [ann])
    assert (await asking(room, ann), await asking(room, bo)) == ([], [])


async def test_asking_again_changes_nothing(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.friends.ask(ann, bo, NOON)
    await room.friends.ask(ann, bo, LATER)

    page = await room.friends.requests(bo, Direction.INCOMING, 10, None)
    await room.friends.accept(bo, ann, NOON)
    await room.friends.accept(bo, ann, LATER)

    assert [(each.user_id, each.at) for each in page.requests] == [(ann, NOON)]
    assert await room.friends.ask(ann, bo, LATER)
    assert (await room.friends.friends(ann, 10, None)).friends[0].since == NOON


async def test_who_is_asked_shows_nothing_of_themselves(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.friends.ask(ann, bo, NOON)

    outgoing = (await room.friends.requests(ann, Direction.OUTGOING, 10, None)).requests[0]
    incoming = (await room.friends.requests(bo, Direction.INCOMING, 10, None)).requests[0]

    assert outgoing.person is None
    assert incoming.person is not None
    assert incoming.person.user_id == ann


async def test_a_dropped_request_is_gone_for_both(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.friends.ask(ann, bo, NOON)

    await room.friends.drop(ann, bo)

    assert (await asking(room, bo), await asked(room, ann)) == ([], [])
    for gone in (room.friends.drop(ann, bo), room.friends.accept(bo, ann, NOON)):
        with pytest.raises(NotFound):
            await gone


async def test_who_asked_cannot_answer(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.friends.ask(ann, bo, NOON)

    for attempt in (room.friends.accept(ann, bo, NOON), room.friends.drop(bo, ann)):
        with pytest.raises(NotFound):
            await attempt

    assert await asking(room, bo) == [ann]


async def test_a_friendship_ends_for_both(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.friends.ask(ann, bo, NOON)
    await room.friends.accept(bo, ann, NOON)

    await room.friends.part(bo, ann)

    assert (await friends_of(room, ann), await friends_of(room, bo)) == ([], [])
    with pytest.raises(NotFound):
        await room.friends.part(ann, bo)


async def test_nobody_asks_somebody_who_is_not_there(room: KeyRoom, ann: UserId) -> None:
    for attempt in (room.friends.ask(ann, UserId(new_id()), NOON), room.friends.standing(ann, UserId(new_id()))):
        with pytest.raises(NotFound):
            await attempt

    assert await asked(room, ann) == []


async def test_strangers_are_those_who_have_nothing_to_do_with_each_other(
    room: KeyRoom, ann: UserId, bo: UserId
) -> None:
    cy, dee = await room.person(), await room.person()
    before = await room.friends.standing(ann, bo)
    await room.friends.ask(ann, bo, NOON)
    await room.conversations.open_direct(cy, ann, NOON)
    await room.friends.ask(dee, ann, NOON)
    await room.friends.accept(ann, dee, NOON)

    assert before is Standing.STRANGERS
    assert await room.friends.standing(ann, bo) is await room.friends.standing(bo, ann) is Standing.ACQUAINTED
    assert await room.friends.standing(ann, cy) is Standing.ACQUAINTED
    assert await room.friends.standing(ann, dee) is Standing.FRIENDS


async def test_lists_come_in_pages(room: KeyRoom, ann: UserId) -> None:
    others = sorted([await room.person() for _ in range(3)])
    for other in others:
        await room.friends.ask(other, ann, NOON)
        await room.blocks.block(other, ann, NOON) if other == others[2] else await room.friends.accept(ann, other, NOON)
    await room.blocks.block(ann, others[0], NOON)
    await room.blocks.block(ann, others[1], NOON)

    first = await room.blocks.list(ann, 1, None)
    second = await room.blocks.list(ann, 1, first.next_cursor)

    assert [each.user_id for page in (first, second) for each in page.blocks] == others[:2]
    assert (first.next_cursor, second.next_cursor) == (others[0], None)


async def test_friends_and_requests_come_in_pages(room: KeyRoom, ann: UserId) -> None:
    others = sorted([await room.person() for _ in range(3)])
    for other in others:
        await room.friends.ask(other, ann, NOON)
    requests = await room.friends.requests(ann, Direction.INCOMING, 2, None)
    for other in others:
        await room.friends.accept(ann, other, NOON)

    first = await room.friends.friends(ann, 2, None)
    last = await room.friends.friends(ann, 2, first.next_cursor)

    assert ([each.user_id for each in requests.requests], requests.next_cursor) == (others[:2], others[1])
    assert [each.person.user_id for page in (first, last) for each in page.friends] == others
    assert (first.next_cursor, last.next_cursor) == (others[1], None)


async def test_a_block_ends_friendship_and_requests(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    cy, dee = await room.person(), await room.person()
    await room.friends.ask(ann, bo, NOON)
    await room.friends.accept(bo, ann, NOON)
    await room.friends.ask(ann, cy, NOON)
    await room.friends.ask(dee, ann, NOON)

    for other in (bo, cy, dee):
        await room.blocks.block(ann, other, NOON)

    for user in (ann, bo, cy, dee):
        assert (await friends_of(room, user), await asking(room, user), await asked(room, user)) == ([], [], [])


@pytest.mark.parametrize("is_blocker", [True, False], ids=["the blocker", "the blocked"])
async def test_neither_finds_the_other_where_one_blocks(
    room: KeyRoom, ann: UserId, bo: UserId, is_blocker: bool
) -> None:
    await room.blocks.block(*((ann, bo) if is_blocker else (bo, ann)), NOON)

    for attempt in (
        room.friends.ask(ann, bo, NOON),
        room.friends.standing(ann, bo),
        room.conversations.find_direct(ann, bo),
        room.conversations.open_direct(ann, bo, NOON),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_block_can_be_taken_back_and_leaves_them_strangers(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.blocks.block(ann, bo, NOON)
    await room.blocks.unblock(ann, bo)

    assert await room.friends.standing(bo, ann) is Standing.STRANGERS
    with pytest.raises(NotFound):
        await room.blocks.unblock(ann, bo)


async def test_a_block_bars_the_conversation_and_changes_its_version(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    opened, _ = await room.conversations.open_direct(ann, bo, NOON)
    key = opened.conversation_id

    assert await room.blocks.block(bo, ann, NOON) == key
    barred = (await room.conversations.load([key]))[key]
    assert await room.blocks.block(bo, ann, NOON) is None
    assert await room.blocks.unblock(bo, ann) == key
    after = (await room.conversations.load([key]))[key]

    seen = [(each.is_barred, each.version) for each in (opened, barred, after)]
    assert seen == [(False, 1), (True, 2), (False, 3)]


async def test_where_both_block_one_unblocking_is_not_enough(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    key = (await room.conversations.open_direct(ann, bo, NOON))[0].conversation_id
    await room.blocks.block(ann, bo, NOON)
    await room.blocks.block(bo, ann, NOON)

    await room.blocks.unblock(ann, bo)

    assert (await room.conversations.load([key]))[key].is_barred


async def test_nobody_can_tell_a_blocker_from_somebody_who_is_not_there_by_blocking(
    room: KeyRoom, ann: UserId, bo: UserId
) -> None:
    await room.blocks.block(bo, ann, NOON)

    for other in (bo, UserId(new_id())):
        with pytest.raises(NotFound):
            await room.blocks.block(ann, other, NOON)

    assert (await room.blocks.list(ann, 10, None)).blocks == []


async def test_who_hears_from_friends_only_is_reached_by_friends_only(room: KeyRoom, ann: UserId, bo: UserId) -> None:
    await room.reserve(bo)
    for attempt in (room.conversations.find_direct(ann, bo), room.conversations.open_direct(ann, bo, NOON)):
        with pytest.raises(Forbidden):
            await attempt

    await room.friends.ask(ann, bo, NOON)
    await room.friends.accept(bo, ann, NOON)
    opened, is_new = await room.conversations.open_direct(ann, bo, NOON)
    await room.friends.part(ann, bo)

    assert is_new
    assert await room.conversations.find_direct(ann, bo) == opened


async def test_there_is_an_end_to_requests_friends_and_blocks(
    room: KeyRoom, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in ("friends", "blocks", "memory_ties"):
        for name in ("MOST_REQUESTS", "MOST_FRIENDS", "MOST_BLOCKS"):
            monkeypatch.setattr(f"vyry.adapters.{adapter}.{name}", 1, raising=False)
    cy = await room.person()
    await room.friends.ask(ann, bo, NOON)
    await room.friends.ask(ann, bo, NOON)
    with pytest.raises(Forbidden):
        await room.friends.ask(ann, cy, NOON)

    await room.friends.accept(bo, ann, NOON)
    await room.friends.ask(ann, cy, NOON)
    with pytest.raises(Forbidden):
        await room.friends.accept(cy, ann, NOON)
    assert await asking(room, cy) == [ann]

    await room.blocks.block(ann, bo, NOON)
    with pytest.raises(Forbidden):
        await room.blocks.block(ann, cy, NOON)


async def test_strangers_cannot_keep_others_from_asking(
    room: KeyRoom, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in ("friends", "memory_ties"):
        monkeypatch.setattr(f"vyry.adapters.{adapter}.MOST_REQUESTS", 2)
    known, stranger, another = ann, await room.person(), await room.person()
    await room.conversations.open_direct(known, bo, NOON)
    await room.friends.ask(known, bo, NOON)
    await room.friends.ask(stranger, bo, NOON + timedelta(seconds=1))
    await room.friends.ask(stranger, bo, NOON + timedelta(seconds=2))
    assert set(await asking(room, bo)) == {known, stranger}

    await room.friends.ask(another, bo, NOON + timedelta(seconds=3))

    assert set(await asking(room, bo)) == {known, another}


def at_noon(
    act: Callable[[UserId, UserId, datetime], Awaitable[object]], one: UserId, other: UserId
) -> Awaitable[object]:
    return act(one, other, NOON)


async def attempt(act: Awaitable[object]) -> None:
    with suppress(NotFound, Forbidden):
        await act


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_leaves_two_sides_or_none(
    room: KeyRoom, ann: UserId, bo: UserId, seed: int
) -> None:
    chance = random.Random(seed)
    acts: list[Callable[[UserId, UserId], Awaitable[object]]] = [
        room.friends.drop,
        room.friends.part,
        room.blocks.unblock,
        partial(at_noon, room.friends.ask),
        partial(at_noon, room.friends.accept),
        partial(at_noon, room.blocks.block),
        partial(at_noon, room.conversations.open_direct),
    ]
    pairs = [(ann, bo), (bo, ann)]

    await asyncio.gather(*(attempt(chance.choice(acts)(*chance.choice(pairs))) for _ in range(50)))

    are_friends = await friends_of(room, ann) == [bo]
    assert await friends_of(room, bo) == [ann] * are_friends
    waiting = [*await asking(room, ann), *await asking(room, bo)]
    assert len(waiting) <= (not are_friends)
    blocked = [each for user in (ann, bo) for each in (await room.blocks.list(user, 9, None)).blocks]
    for conversation in (await room.conversations.list(ann, 9, None)).conversations:
        assert conversation.is_barred == bool(blocked)
    assert not (blocked and (are_friends or waiting))


async def test_fifty_requests_at_once_from_both_sides_are_one_friendship(
    room: KeyRoom, ann: UserId, bo: UserId
) -> None:
    pairs = [(ann, bo), (bo, ann)] * 25

    made = await asyncio.gather(*(room.friends.ask(*pair, NOON) for pair in pairs))

    assert (await friends_of(room, ann), await friends_of(room, bo)) == ([bo], [ann])
    assert (await asking(room, ann), await asking(room, bo)) == ([], [])
    assert any(made)
    assert not all(made)
