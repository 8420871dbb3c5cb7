"""Sessions: recognised cheaply, refused within a second of their end, rotated without a second use."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from tests.account_room import AccountRoom, AccountStores, open_stores
from vyry.accounts.signing import SigningKey
from vyry.accounts.standings import MEMORY, Ending, EndingWatch, Standing
from vyry.accounts.tokens import TokenPair
from vyry.errors import InvalidToken, Unavailable
from vyry.ids import UserId


@pytest.fixture
async def stores() -> AccountStores:
    async with open_stores(None) as stores:
        return stores


class Counted:
    """A store of standings that counts what it is asked, answers when told to, and breaks when told to."""

    def __init__(self, stores: AccountStores) -> None:
        self.stores = stores
        self.asked: list[set[UUID]] = []
        self.seen_days: list[date] = []
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def standings(self, devices: Collection[UUID]) -> Mapping[UUID, Standing]:
        self.asked.append(set(devices))
        await self.gate.wait()
        if self.is_away:
            raise Unavailable
        return await self.stores.sessions.standings(devices)

    async def endings(self, after: int | None) -> Sequence[Ending]:
        if self.is_away:
            raise Unavailable
        return await self.stores.sessions.endings(after)

    async def seen(self, devices: Collection[UUID], day: date) -> None:
        self.seen_days.append(day)
        await self.stores.sessions.seen(devices, day)


@pytest.fixture
def room(stores: AccountStores) -> AccountRoom:
    return AccountRoom(stores)


@pytest.fixture
def counted(room: AccountRoom) -> Counted:
    """The store of standings behind the room's sessions, counted."""
    counted = Counted(room.stores)
    room.standings._store = counted
    return counted


async def signed_up(room: AccountRoom) -> TokenPair:
    return (await room.sign_up()).tokens


async def test_a_recognised_token_asks_the_database_again_only_after_a_while(
    room: AccountRoom, counted: Counted
) -> None:
    token = (await signed_up(room)).access

    for _ in range(100):
        await room.sessions.recognise(token)
    room.clock.moment += MEMORY + timedelta(milliseconds=1)
    await room.sessions.recognise(token)

    assert len(counted.asked) == 2


async def test_what_ended_elsewhere_is_refused_within_a_second(room: AccountRoom) -> None:
    token = (await signed_up(room)).access
    caller = await room.sessions.recognise(token)

    await room.stores.devices.end(caller.user_id, caller.device, room.clock.now())

    room.clock.advance(milliseconds=999)
    with pytest.raises(InvalidToken):
        await room.sessions.recognise(token)
    with pytest.raises(InvalidToken):
        await room.sessions.confirm(caller)


async def test_the_database_away_is_unavailable_and_nobody_is_let_in_blindly(
    room: AccountRoom, counted: Counted
) -> None:
    token = (await signed_up(room)).access
    await room.sessions.recognise(token)
    counted.is_away = True

    room.clock.advance(seconds=1)
    with pytest.raises(Unavailable):
        await room.sessions.recognise(token)

    counted.is_away = False
    await room.sessions.recognise(token)


async def test_a_clock_set_back_does_not_stretch_the_memory(room: AccountRoom, counted: Counted) -> None:
    token = (await signed_up(room)).access
    await room.sessions.recognise(token)

    room.clock.advance(seconds=-5)
    await room.sessions.recognise(token)

    assert len(counted.asked) == 2


async def test_questions_at_the_same_time_share_statements(room: AccountRoom, counted: Counted) -> None:
    devices = [uuid4() for _ in range(50)]
    counted.gate.clear()

    asking = [asyncio.ensure_future(room.standings.of(device)) for device in devices]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = asyncio.ensure_future(room.standings.of(uuid4()))
    counted.gate.set()
    answers = await asyncio.gather(*asking, late)

    assert answers == [None] * 51
    assert len(counted.asked) <= 3
    assert set(devices) <= set().union(*counted.asked)


async def test_a_failed_round_fails_all_who_asked_and_nobody_after(
    stores: AccountStores, room: AccountRoom, counted: Counted
) -> None:
    counted.is_away = True
    answers = await asyncio.gather(*(room.standings.of(uuid4()) for _ in range(10)), return_exceptions=True)
    counted.is_away = False

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert await room.standings.of(uuid4()) is None


async def test_one_who_gives_up_takes_nobody_along_for_good(room: AccountRoom, counted: Counted) -> None:
    device = uuid4()
    counted.gate.clear()
    first = asyncio.ensure_future(room.standings.of(device))
    await asyncio.sleep(0)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    counted.gate.set()

    assert await room.standings.of(device) is None


async def test_a_device_is_seen_once_a_day(room: AccountRoom, counted: Counted) -> None:
    caller = await room.sessions.recognise((await signed_up(room)).access)

    for _ in range(5):
        room.clock.advance(hours=10)
        await room.standings.of(caller.device)

    # It signed up at noon of the first day: 22, 8, 18, 4 and 14 o'clock are three days, and the first was known.
    assert [day.day for day in counted.seen_days] == [2, 3]


async def test_a_ticket_opens_one_socket(room: AccountRoom) -> None:
    caller = await room.sessions.recognise((await signed_up(room)).access)
    ticket = await room.sessions.ticket(caller)

    assert await room.sessions.redeem(ticket) == caller
    with pytest.raises(InvalidToken):
        await room.sessions.redeem(ticket)


@pytest.mark.parametrize("ticket", ["", "x" * 43, "é\udcff"])
async def test_an_invented_ticket_opens_nothing(room: AccountRoom, ticket: str) -> None:
    with pytest.raises(InvalidToken):
        await room.sessions.redeem(ticket)


async def test_a_ticket_is_good_for_thirty_seconds(room: AccountRoom) -> None:
    caller = await room.sessions.recognise((await signed_up(room)).access)
    ticket = await room.sessions.ticket(caller)
    room.clock.advance(seconds=30)

    with pytest.raises(InvalidToken):
        await room.sessions.redeem(ticket)


async def test_a_ticket_dies_with_the_sessions_it_came_from(room: AccountRoom) -> None:
    pair = await signed_up(room)
    caller = await room.sessions.recognise(pair.access)
    ticket = await room.sessions.ticket(caller)
    await room.sessions.refresh(pair.refresh, uuid4())
    with pytest.raises(InvalidToken):
        await room.sessions.refresh(pair.refresh, uuid4())

    with pytest.raises(InvalidToken):
        await room.sessions.redeem(ticket)


async def test_tokens_are_refreshed(room: AccountRoom) -> None:
    pair = await signed_up(room)
    room.clock.advance(days=6)

    fresh = await room.sessions.refresh(pair.refresh, uuid4())

    await room.sessions.recognise(fresh.access)
    assert fresh.refresh != pair.refresh
    assert fresh.refresh_lifetime == timedelta(days=7)


async def test_reuse_ends_access_tokens_and_sockets_of_the_device(room: AccountRoom) -> None:
    pair = await signed_up(room)
    caller = await room.sessions.recognise(pair.access)
    fresh = await room.sessions.refresh(pair.refresh, uuid4())

    with pytest.raises(InvalidToken):
        await room.sessions.refresh(pair.refresh, uuid4())

    assert room.ear.heard == [caller.mailbox]
    for token in (pair.access, fresh.access):
        with pytest.raises(InvalidToken):
            await room.sessions.recognise(token)
    with pytest.raises(InvalidToken):
        await room.sessions.refresh(fresh.refresh, uuid4())


async def test_a_lost_answer_is_asked_for_again_under_the_same_attempt(room: AccountRoom) -> None:
    pair = await signed_up(room)
    attempt = uuid4()
    lost = await room.sessions.refresh(pair.refresh, attempt)

    room.clock.advance(seconds=29)
    again = await room.sessions.refresh(pair.refresh, attempt)

    await room.sessions.refresh(again.refresh, uuid4())
    assert room.ear.heard == []
    assert lost.refresh != again.refresh


async def test_one_who_gives_up_while_gathering_leaves_the_others_an_answer(
    room: AccountRoom, counted: Counted
) -> None:
    counted.gate.clear()
    asking = asyncio.ensure_future(room.standings.of(uuid4()))
    await asyncio.sleep(0)
    gathering = asyncio.ensure_future(room.standings.of(uuid4()))
    await asyncio.sleep(0)
    follower = asyncio.ensure_future(room.standings.of(uuid4()))
    await asyncio.sleep(0)

    gathering.cancel()
    with pytest.raises(Unavailable):
        await follower

    counted.gate.set()
    assert await asking is None
    assert await room.standings.of(uuid4()) is None


async def test_a_remembered_token_still_expires(room: AccountRoom) -> None:
    token = (await signed_up(room)).access
    await room.sessions.recognise(token)

    room.clock.advance(hours=1, seconds=10)
    with pytest.raises(InvalidToken):
        await room.sessions.recognise(token)


async def test_memories_stay_bounded(room: AccountRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vyry.accounts.standings.REMEMBERED", 10)
    monkeypatch.setattr("vyry.accounts.sessions.REMEMBERED", 10)
    caller = await room.sessions.recognise((await signed_up(room)).access)

    for _ in range(30):
        await room.standings.of(uuid4())
        await room.sessions.recognise(room.tokens.issue(caller.user_id, caller.device, 1))

    assert (len(room.standings._known), len(room.sessions._verified)) == (10, 10)


async def test_a_token_that_names_another_person_than_its_device_has_is_refused(room: AccountRoom) -> None:
    caller = await room.sessions.recognise((await signed_up(room)).access)

    with pytest.raises(InvalidToken):
        await room.sessions.recognise(room.tokens.issue(UserId(uuid4()), caller.device, caller.generation))


async def test_what_a_leaked_key_signed_is_worthless_once_it_is_dropped(room: AccountRoom) -> None:
    token = (await signed_up(room)).access
    caller = await room.sessions.recognise(token)
    ticket = await room.sessions.ticket(caller)

    room.tokens.keys.learn([SigningKey("k2", b"2" * 48, room.clock.now())])

    assert not room.sessions.is_signed(caller)
    for attempt in (room.sessions.recognise(token), room.sessions.confirm(caller), room.sessions.redeem(ticket)):
        with pytest.raises(InvalidToken):
            await attempt


async def test_a_node_hears_of_each_end_once_however_late_it_comes_to_light(room: AccountRoom) -> None:
    caller = await room.sessions.recognise((await signed_up(room)).access)
    watch = EndingWatch(room.stores.sessions, room.standings)
    assert await watch.look(0) == (set(), set())

    await room.stores.devices.end(caller.user_id, caller.device, room.clock.now())

    looks = [await watch.look(seconds) for seconds in (0.4, 0.8, 20, 40)]
    assert looks == [({caller.device}, set()), *[(set(), set())] * 3]


async def test_a_node_that_could_not_look_for_long_misses_no_end(room: AccountRoom, counted: Counted) -> None:
    callers = [await room.sessions.recognise((await room.sign_up(f"+4179123456{n}")).tokens.access) for n in range(3)]
    watch = EndingWatch(counted, room.standings)
    await watch.look(0)
    counted.is_away = True
    for caller in callers:
        await room.stores.devices.end(caller.user_id, caller.device, room.clock.now())
    with pytest.raises(Unavailable):
        await watch.look(100)
    counted.is_away = False

    assert await watch.look(1000) == ({caller.device for caller in callers}, set())
