"""Contract of DiscoveryStore, and what look-ups cost over two nodes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.fakes.discovery import MemoryDiscovery
from tests.support.contact_search_harness import ContactSearchHarness, open_contact_search
from tests.support.directory_harness import NOON, new_caller
from vyry.accounts.account import Caller
from vyry.accounts.phone import Pepper, read_number
from vyry.contacts.discovery import ContactDiscovery, Person, PublicProfile
from vyry.devices.prekeys import Relationship
from vyry.errors import NotFound, RateLimited
from vyry.kernel.ids import UserId, new_id
from vyry.limits import LOOKUP, Quota, QuotaWindow
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.limiter import RedisLimiter
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.conversation_models import ConversationRow, MemberRow
from vyry.storage.database import open_database
from vyry.storage.discovery import TortoiseDiscovery
from vyry.storage.models import AccountRow
from vyry.storage.prekeys import TortoisePrekeys


PEPPER = Pepper({1: b"1" * 32, 2: b"2" * 32}, 2)


@pytest.fixture
async def harness(mail_url: str | None) -> AsyncIterator[ContactSearchHarness]:
    async with open_contact_search(mail_url) as harness:
        yield harness


@pytest.fixture(params=["sqlite", "postgres"])
def stored_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


async def test_a_username_is_found_and_no_part_of_one(harness: ContactSearchHarness) -> None:
    ann, bo = await harness.add_person("ann"), await harness.add_person("bo_1")

    assert (await harness.store.find_by_username(ann, "bo_1")).user_id == bo
    for strange in ("bo_", "BO_1", "bo%", ""):
        with pytest.raises(NotFound):
            await harness.store.find_by_username(ann, strange)


async def test_numbers_find_those_who_let_themselves_be_found(harness: ContactSearchHarness) -> None:
    ann = await harness.add_person("ann")
    bo, cy = await harness.add_person("bo", {"discoverableByPhone": True}), await harness.add_person("cy")
    await harness.add_person("dee", {"discoverableByPhone": False})

    found = await harness.store.find_by_phone_hashes(ann, ["#bo", "#cy", "#dee", "#nobody"])

    assert {number: person.user_id for number, person in found.items()} == {"#bo": bo, "#cy": cy}
    assert await harness.store.find_by_phone_hashes(ann, []) == {}


@pytest.mark.parametrize("is_blocker", [True, False], ids=["the blocker", "the blocked"])
async def test_where_one_blocks_neither_is_found(harness: ContactSearchHarness, is_blocker: bool) -> None:
    ann, bo = await harness.add_person("ann"), await harness.add_person("bo")
    await harness.add_conversation(ann, bo)
    await harness.block(*((ann, bo) if is_blocker else (bo, ann)))

    assert await harness.store.find_by_phone_hashes(ann, ["#bo"]) == {}
    for attempt in (harness.store.find_by_username(ann, "bo"), harness.store.load_profile(ann, bo)):
        with pytest.raises(NotFound):
            await attempt


async def test_a_profile_is_for_those_near(harness: ContactSearchHarness) -> None:
    ann, bo, cy, dee = [await harness.add_person(name) for name in ("ann", "bo", "cy", "dee")]
    await harness.befriend(ann, bo)
    await harness.add_conversation(cy, ann)

    seen = [await harness.store.load_profile(each, ann) for each in (ann, bo, cy)]

    assert seen[0] == seen[1] == seen[2] == PublicProfile(Person(ann, "ann", None, None), "bio", b"sealed")
    for strange in (ann, UserId(new_id())):
        with pytest.raises(NotFound):
            await harness.store.load_profile(dee, strange)


async def test_in_a_group_keys_are_seen_through_a_block_and_profiles_are_not(stored_url: str) -> None:
    async with open_database(stored_url):
        ann, bo, group = UserId(new_id()), UserId(new_id()), new_id()
        for user in (ann, bo):
            await AccountRow(id=user, phone_hash=user.hex, phone_sealed=b"", created_at=NOON).save(force_create=True)
        await TortoiseBlocks().block(ann, bo, NOON)
        before = [await TortoisePrekeys().relationship(*pair) for pair in ((ann, bo), (bo, ann))]

        _ = await ConversationRow.create(id=group, kind="group", created_at=NOON, last_activity_at=NOON)
        for user in (ann, bo):
            _ = await MemberRow.create(conversation_id=group, account_id=user, role="member", joined_at=NOON)

        after = [await TortoisePrekeys().relationship(*pair) for pair in ((ann, bo), (bo, ann))]
        assert (before, after) == ([Relationship.HIDDEN] * 2, [Relationship.ACQUAINTED] * 2)
        with pytest.raises(NotFound):
            await TortoiseDiscovery().load_profile(bo, ann)


def two_nodes(redis: Redis, window: QuotaWindow) -> tuple[list[ContactDiscovery], Caller, list[str]]:
    """Two nodes with shared quotas, a caller, and the numbers of three accounts that can be found."""
    store, numbers = MemoryDiscovery(), [f"+4915112345{each:03d}" for each in range(3)]
    for number in numbers:
        user = UserId(new_id())
        store.profiles[user] = PublicProfile(Person(user, None, None, None), None, None)
        # They signed up under the older pepper.
        store.numbers[PEPPER.hide(read_number(number)).hashes[1]] = user
    quotas = {LOOKUP.name: Quota(LOOKUP.name, (window,))}
    nodes = [ContactDiscovery(store, PEPPER, RedisLimiter(RedisGuard(redis), quotas)) for _ in range(2)]
    return nodes, new_caller(UserId(new_id()), 1, 1), numbers


def strange(first: int, count: int) -> list[str]:
    """Numbers without an account."""
    return [f"+4915199{first + each:06d}" for each in range(count)]


async def test_a_crawler_gets_a_thousand_misses_a_day_over_all_nodes(redis_url: str) -> None:
    async with connect_redis(redis_url) as redis:
        nodes, eve, _ = two_nodes(redis, LOOKUP.windows[1])

        found = [await nodes[turn % 2].find_by_numbers(eve, strange(turn * 100, 100)) for turn in range(10)]

        assert [each.grant.remaining for each in found] == list(range(4_500, -1, -500))
        for node in nodes:
            with pytest.raises(RateLimited):
                await node.find_by_numbers(eve, strange(5_000, 1))


@pytest.mark.usefixtures("redis_never_times_out")
async def test_however_much_is_asked_at_once_no_more_numbers_are_looked_up_than_a_day_has(redis_url: str) -> None:
    async with connect_redis(redis_url) as redis:
        nodes, eve, _ = two_nodes(redis, LOOKUP.windows[1])
        answers: list[object] = []
        # All at once they would stall a slow machine for longer than a Redis that answers may take.
        for twenty in range(4):
            asked = [
                nodes[turn % 2].find_by_numbers(eve, strange((20 * twenty + turn) * 100, 100)) for turn in range(20)
            ]
            answers += await asyncio.gather(*asked, return_exceptions=True)

        assert 10 <= sum(not isinstance(each, RateLimited) for each in answers) <= 50
        with pytest.raises(RateLimited):
            await nodes[0].find_by_numbers(eve, strange(9_000, 1))


def written(number: str) -> str:
    """The same number in another spelling."""
    return f"00{number[1:3]} (0) {number[3:5]}-{number[5:]}"


async def test_a_hit_costs_one_a_miss_five_and_a_number_given_twice_is_one(redis_url: str) -> None:
    async with connect_redis(redis_url) as redis:
        nodes, ann, numbers = two_nodes(redis, QuotaWindow(20, 3600))

        found = await nodes[0].find_by_numbers(ann, [*strange(0, 1), numbers[1], numbers[0], written(numbers[1])])

        assert [number.e164 for number, _ in found.people] == [numbers[1], numbers[0]]
        assert found.grant.remaining == 20 - 2 - 5


async def test_a_refusal_says_nothing_of_what_would_have_been_found(redis_url: str) -> None:
    async with connect_redis(redis_url) as redis:
        nodes, eve, numbers = two_nodes(redis, QuotaWindow(10, 3600))
        await nodes[0].find_by_numbers(eve, [*strange(0, 1), *numbers])

        # Two are left: less than a miss costs, and enough to ask for one.
        answered = await nodes[1].find_by_numbers(eve, strange(1, 1))

        assert (answered.people, answered.grant.remaining) == ([], 0)
        for asked in (numbers[:1], strange(2, 1)):
            with pytest.raises(RateLimited):
                await nodes[0].find_by_numbers(eve, asked)
