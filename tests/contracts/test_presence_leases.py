"""What all leases of presence promise: who is online, until when, and who is told of a change."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.support.recording_listener import RecordingListener
from vyry.in_process.presence import InProcessPresence
from vyry.kernel.ids import MailboxKey, UserId, new_id
from vyry.mail.routing import NodeSockets
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.notifier import RedisNotifier, new_node_name
from vyry.redis.presence import RedisPresence, parse_states
from vyry.redis.socket_query import channel_name
from vyry.signals.presence import DeviceSocket, PresenceLeases, PresenceListener, PresenceState, PresenceTiming


PACE = PresenceTiming(lease_seconds=6.0)
HASTY = PresenceTiming(lease_seconds=0.3)
ANN, BO = UserId(new_id()), UserId(new_id())


class Node:
    def __init__(self, build_leases: Callable[[PresenceListener], PresenceLeases]) -> None:
        self.heard: asyncio.Queue[dict[UserId, float]] = asyncio.Queue()
        self.leases = build_leases(self.on_states)

    def on_states(self, states: Mapping[UserId, PresenceState]) -> None:
        self.heard.put_nowait({user: each.remaining_seconds for user, each in states.items()})

    async def next(self) -> dict[UserId, float]:
        async with asyncio.timeout(5):
            return await self.heard.get()

    async def seconds(self, user: UserId) -> float:
        standings = await self.leases.watch([user])
        assert standings is not None
        return standings[user].remaining_seconds


@pytest.fixture
def pace() -> PresenceTiming:
    return PACE


@pytest.fixture(params=["in_process", "redis"])
async def node(request: pytest.FixtureRequest, pace: PresenceTiming) -> AsyncIterator[Node]:
    if request.param == "in_process":
        yield Node(lambda listener: InProcessPresence(pace, listener))
        return
    async with connect_redis(request.getfixturevalue("redis_url")) as redis, asyncio.TaskGroup() as tasks:
        name = new_node_name()
        node = Node(lambda _: RedisPresence(RedisGuard(redis), pace, channel=channel_name(name)))
        notifier = RedisNotifier(
            RedisGuard(redis),
            sockets=NodeSockets(heard := RecordingListener()),
            on_presence=lambda news: node.on_states(parse_states(news)),
            node=name,
        )
        running = tasks.create_task(notifier.run())
        assert await heard.next_event() == ("gap",)
        yield node
        running.cancel()


def seat(user: UserId = ANN, mailbox: int = 1, connection: int = 1) -> DeviceSocket:
    return DeviceSocket(user, MailboxKey(mailbox), connection)


async def test_who_has_no_lease_is_offline_and_who_has_one_is_online_for_its_time(node: Node) -> None:
    await node.leases.acquire([seat()])

    standings = await node.leases.watch([ANN, BO])

    assert standings is not None
    assert 5 < standings[ANN].remaining_seconds <= 6
    assert standings[BO].remaining_seconds == 0


async def test_a_change_is_heard_once_and_no_renewal_is(node: Node) -> None:
    await node.leases.watch([ANN])

    for _ in range(3):
        await node.leases.acquire([seat(), seat(BO, 2)])
    await node.leases.watch([BO])
    await node.leases.release([seat(BO, 2)])

    first, second = await node.next(), await node.next()
    assert [set(first), set(second)] == [{ANN}, {BO}]
    assert 5 < first[ANN] <= 6
    assert 0 < second[BO] <= 1


async def test_who_comes_back_within_the_grace_was_never_away(node: Node) -> None:
    await node.leases.acquire([seat(connection=1)])
    await node.leases.watch([ANN])
    await node.leases.release([seat(connection=1)])

    await node.leases.acquire([seat(connection=2)])

    assert (await node.next())[ANN] <= 1
    assert (await node.next())[ANN] > 5


async def test_a_late_leave_of_an_older_connection_takes_nobody_offline(node: Node) -> None:
    await node.leases.acquire([seat(connection=7)])
    await node.leases.acquire([seat(connection=8)])

    await node.leases.release([seat(connection=7)])

    assert await node.seconds(ANN) > 5
    assert node.heard.empty()


async def test_a_late_renewal_of_an_older_connection_does_not_outlive_the_newer(node: Node) -> None:
    await node.leases.acquire([seat(connection=8)])
    await node.leases.acquire([seat(connection=7)])

    await node.leases.release([seat(connection=8)])

    assert 0 < await node.seconds(ANN) <= 1


async def test_an_account_is_online_for_as_long_as_one_of_its_devices_is(node: Node) -> None:
    await node.leases.watch([ANN])
    await node.leases.acquire([seat(mailbox=1), seat(mailbox=2)])

    await node.leases.release([seat(mailbox=1)])

    assert await node.seconds(ANN) > 5
    assert (await node.next())[ANN] > 5
    assert node.heard.empty()


async def test_of_who_is_watched_no_more_nothing_is_heard(node: Node) -> None:
    await node.leases.watch([ANN, BO])

    await node.leases.unwatch([ANN])
    await node.leases.acquire([seat(ANN), seat(BO, 2)])

    assert (await node.next()).keys() == {BO}
    assert node.heard.empty()


async def test_a_newer_answer_has_a_higher_stamp(node: Node) -> None:
    found: list[PresenceState] = []
    for _ in range(3):
        standings = await node.leases.watch([ANN])
        assert standings is not None
        found.append(standings[ANN])

    assert found[0].stamp < found[1].stamp < found[2].stamp


async def test_nobody_and_a_thousand_are_no_trouble(node: Node) -> None:
    crowd = [seat(UserId(new_id()), number) for number in range(1000)]
    for seats in ([], crowd):
        await node.leases.acquire(seats)
        standings = await node.leases.watch([each.user_id for each in seats])

        assert standings is not None
        assert [each.remaining_seconds > 0 for each in standings.values()] == [True] * len(seats)
    await node.leases.release([])
    await node.leases.unwatch([])


@pytest.mark.parametrize("pace", [HASTY], ids=["hasty"])
async def test_a_lease_that_nobody_renews_ends_by_itself(node: Node) -> None:
    await node.leases.acquire([seat(), seat(BO, 2)])
    for _ in range(4):
        await asyncio.sleep(HASTY.renewal_seconds)
        await node.leases.acquire([seat(BO, 2)])

    assert await node.seconds(ANN) == 0
    assert await node.seconds(BO) > 0
