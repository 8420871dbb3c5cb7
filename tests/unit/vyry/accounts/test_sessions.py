"""Sessions: cheap authentication, refused within a second of a revocation, rotation without reuse."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.account_harness import AccountHarness, AccountStores, open_stores
from vyry.accounts.device_status import CACHE_AGE, DeviceStatus, Revocation, RevocationWatcher
from vyry.accounts.signing import SigningKey
from vyry.accounts.tokens import TokenPair
from vyry.errors import InvalidToken, Unavailable
from vyry.kernel.ids import UserId
from vyry.kernel.lru_cache import LruCache


@pytest.fixture
async def stores() -> AccountStores:
    async with open_stores(None) as stores:
        return stores


class CountingStatusStore:
    """A DeviceStatusStore that counts its queries, and whose response and error the test controls."""

    def __init__(self, stores: AccountStores) -> None:
        self.stores = stores
        self.asked: list[set[UUID]] = []
        self.seen_days: list[date] = []
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def load_statuses(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        self.asked.append(set(devices))
        await self.gate.wait()
        if self.is_away:
            raise Unavailable
        return await self.stores.sessions.load_statuses(devices)

    async def load_revocations(self, after: int | None) -> Sequence[Revocation]:
        if self.is_away:
            raise Unavailable
        return await self.stores.sessions.load_revocations(after)

    async def record_last_seen(self, devices: Collection[UUID], day: date) -> None:
        self.seen_days.append(day)
        await self.stores.sessions.record_last_seen(devices, day)


@pytest.fixture
def harness(stores: AccountStores) -> AccountHarness:
    return AccountHarness(stores)


@pytest.fixture
def counted(harness: AccountHarness) -> CountingStatusStore:
    """The DeviceStatusStore of the harness, counted."""
    counted = CountingStatusStore(harness.stores)
    harness.standings._store = counted
    return counted


async def signed_up(harness: AccountHarness) -> TokenPair:
    return (await harness.sign_up()).tokens


async def test_a_recognised_token_asks_the_database_again_only_after_a_while(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    token = (await signed_up(harness)).access

    for _ in range(100):
        await harness.sessions.authenticate(token)
    harness.clock.current_time += CACHE_AGE + timedelta(milliseconds=1)
    await harness.sessions.authenticate(token)

    assert len(counted.asked) == 2


async def test_what_ended_elsewhere_is_refused_within_a_second(harness: AccountHarness) -> None:
    token = (await signed_up(harness)).access
    caller = await harness.sessions.authenticate(token)

    await harness.stores.devices.end(caller.user_id, caller.device, harness.clock.now())

    harness.clock.advance(milliseconds=999)
    with pytest.raises(InvalidToken):
        await harness.sessions.authenticate(token)
    with pytest.raises(InvalidToken):
        await harness.sessions.check_still_valid(caller)


async def test_the_database_away_is_unavailable_and_nobody_is_let_in_blindly(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    token = (await signed_up(harness)).access
    await harness.sessions.authenticate(token)
    counted.is_away = True

    harness.clock.advance(seconds=1)
    with pytest.raises(Unavailable):
        await harness.sessions.authenticate(token)

    counted.is_away = False
    await harness.sessions.authenticate(token)


async def test_a_clock_set_back_does_not_stretch_the_memory(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    token = (await signed_up(harness)).access
    await harness.sessions.authenticate(token)

    harness.clock.advance(seconds=-5)
    await harness.sessions.authenticate(token)

    assert len(counted.asked) == 2


async def test_questions_at_the_same_time_share_statements(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    devices = [uuid4() for _ in range(50)]
    counted.gate.clear()

    asking = [asyncio.ensure_future(harness.standings.get(device)) for device in devices]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = asyncio.ensure_future(harness.standings.get(uuid4()))
    counted.gate.set()
    answers = await asyncio.gather(*asking, late)

    assert answers == [None] * 51
    assert len(counted.asked) <= 3
    assert set(devices) <= set().union(*counted.asked)


async def test_a_failed_round_fails_all_who_asked_and_nobody_after(
    stores: AccountStores, harness: AccountHarness, counted: CountingStatusStore
) -> None:
    counted.is_away = True
    answers = await asyncio.gather(*(harness.standings.get(uuid4()) for _ in range(10)), return_exceptions=True)
    counted.is_away = False

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert await harness.standings.get(uuid4()) is None


async def test_one_who_gives_up_takes_nobody_along_for_good(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    device = uuid4()
    counted.gate.clear()
    first = asyncio.ensure_future(harness.standings.get(device))
    await asyncio.sleep(0)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    counted.gate.set()

    assert await harness.standings.get(device) is None


async def test_a_device_is_seen_once_a_day(harness: AccountHarness, counted: CountingStatusStore) -> None:
    caller = await harness.sessions.authenticate((await signed_up(harness)).access)

    for _ in range(5):
        harness.clock.advance(hours=10)
        await harness.standings.get(caller.device)

    # It signed up at noon of the first day: 22, 8, 18, 4 and 14 o'clock are three days, and the first was known.
    assert [day.day for day in counted.seen_days] == [2, 3]


async def test_a_ticket_opens_one_socket(harness: AccountHarness) -> None:
    caller = await harness.sessions.authenticate((await signed_up(harness)).access)
    ticket = await harness.sessions.issue_ticket(caller)

    assert await harness.sessions.redeem_ticket(ticket) == caller
    with pytest.raises(InvalidToken):
        await harness.sessions.redeem_ticket(ticket)


@pytest.mark.parametrize("ticket", ["", "x" * 43, "é\udcff"])
async def test_an_invented_ticket_opens_nothing(harness: AccountHarness, ticket: str) -> None:
    with pytest.raises(InvalidToken):
        await harness.sessions.redeem_ticket(ticket)


async def test_a_ticket_is_good_for_thirty_seconds(harness: AccountHarness) -> None:
    caller = await harness.sessions.authenticate((await signed_up(harness)).access)
    ticket = await harness.sessions.issue_ticket(caller)
    harness.clock.advance(seconds=30)

    with pytest.raises(InvalidToken):
        await harness.sessions.redeem_ticket(ticket)


async def test_a_ticket_dies_with_the_sessions_it_came_from(harness: AccountHarness) -> None:
    pair = await signed_up(harness)
    caller = await harness.sessions.authenticate(pair.access)
    ticket = await harness.sessions.issue_ticket(caller)
    await harness.sessions.refresh(pair.refresh, uuid4())
    with pytest.raises(InvalidToken):
        await harness.sessions.refresh(pair.refresh, uuid4())

    with pytest.raises(InvalidToken):
        await harness.sessions.redeem_ticket(ticket)


async def test_tokens_are_refreshed(harness: AccountHarness) -> None:
    pair = await signed_up(harness)
    harness.clock.advance(days=6)

    fresh = await harness.sessions.refresh(pair.refresh, uuid4())

    await harness.sessions.authenticate(fresh.access)
    assert fresh.refresh != pair.refresh
    assert fresh.refresh_lifetime == timedelta(days=7)


async def test_reuse_ends_access_tokens_and_sockets_of_the_device(harness: AccountHarness) -> None:
    pair = await signed_up(harness)
    caller = await harness.sessions.authenticate(pair.access)
    fresh = await harness.sessions.refresh(pair.refresh, uuid4())

    with pytest.raises(InvalidToken):
        await harness.sessions.refresh(pair.refresh, uuid4())

    assert harness.listener.ended_mailboxes == [caller.mailbox]
    for token in (pair.access, fresh.access):
        with pytest.raises(InvalidToken):
            await harness.sessions.authenticate(token)
    with pytest.raises(InvalidToken):
        await harness.sessions.refresh(fresh.refresh, uuid4())


async def test_a_lost_answer_is_asked_for_again_under_the_same_attempt(harness: AccountHarness) -> None:
    pair = await signed_up(harness)
    attempt = uuid4()
    lost = await harness.sessions.refresh(pair.refresh, attempt)

    harness.clock.advance(seconds=29)
    again = await harness.sessions.refresh(pair.refresh, attempt)

    await harness.sessions.refresh(again.refresh, uuid4())
    assert harness.listener.ended_mailboxes == []
    assert lost.refresh != again.refresh


async def test_one_who_gives_up_while_gathering_leaves_the_others_an_answer(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    counted.gate.clear()
    asking = asyncio.ensure_future(harness.standings.get(uuid4()))
    await asyncio.sleep(0)
    gathering = asyncio.ensure_future(harness.standings.get(uuid4()))
    await asyncio.sleep(0)
    follower = asyncio.ensure_future(harness.standings.get(uuid4()))
    await asyncio.sleep(0)

    gathering.cancel()
    with pytest.raises(Unavailable):
        await follower

    counted.gate.set()
    assert await asking is None
    assert await harness.standings.get(uuid4()) is None


async def test_a_remembered_token_still_expires(harness: AccountHarness) -> None:
    token = (await signed_up(harness)).access
    await harness.sessions.authenticate(token)

    harness.clock.advance(hours=1, seconds=10)
    with pytest.raises(InvalidToken):
        await harness.sessions.authenticate(token)


async def test_memories_stay_bounded(harness: AccountHarness) -> None:
    harness.standings._cache, harness.sessions._verified = LruCache(10), LruCache(10)
    caller = await harness.sessions.authenticate((await signed_up(harness)).access)

    for _ in range(30):
        await harness.standings.get(uuid4())
        await harness.sessions.authenticate(harness.tokens.issue(caller.user_id, caller.device, 1))

    assert (len(harness.standings._cache), len(harness.sessions._verified)) == (10, 10)


async def test_a_token_that_names_another_person_than_its_device_has_is_refused(harness: AccountHarness) -> None:
    caller = await harness.sessions.authenticate((await signed_up(harness)).access)

    with pytest.raises(InvalidToken):
        await harness.sessions.authenticate(harness.tokens.issue(UserId(uuid4()), caller.device, caller.generation))


async def test_what_a_leaked_key_signed_is_worthless_once_it_is_dropped(harness: AccountHarness) -> None:
    token = (await signed_up(harness)).access
    caller = await harness.sessions.authenticate(token)
    ticket = await harness.sessions.issue_ticket(caller)

    harness.tokens.keys.replace([SigningKey("k2", b"2" * 48, harness.clock.now())])

    assert not harness.sessions.has_valid_key(caller)
    for attempt in (
        harness.sessions.authenticate(token),
        harness.sessions.check_still_valid(caller),
        harness.sessions.redeem_ticket(ticket),
    ):
        with pytest.raises(InvalidToken):
            await attempt


async def test_a_node_hears_of_each_end_once_however_late_it_comes_to_light(harness: AccountHarness) -> None:
    caller = await harness.sessions.authenticate((await signed_up(harness)).access)
    watch = RevocationWatcher(harness.stores.sessions, harness.standings)
    assert await watch.poll(0) == (set(), set())

    await harness.stores.devices.end(caller.user_id, caller.device, harness.clock.now())

    looks = [await watch.poll(seconds) for seconds in (0.4, 0.8, 20, 40)]
    assert looks == [({caller.device}, set()), *[(set(), set())] * 3]


async def test_a_node_that_could_not_look_for_long_misses_no_end(
    harness: AccountHarness, counted: CountingStatusStore
) -> None:
    callers = [
        await harness.sessions.authenticate((await harness.sign_up(f"+4179123456{n}")).tokens.access) for n in range(3)
    ]
    watch = RevocationWatcher(counted, harness.standings)
    await watch.poll(0)
    counted.is_away = True
    for caller in callers:
        await harness.stores.devices.end(caller.user_id, caller.device, harness.clock.now())
    with pytest.raises(Unavailable):
        await watch.poll(100)
    counted.is_away = False

    assert await watch.poll(1000) == ({caller.device for caller in callers}, set())
