"""Contract of SessionStore and DeviceStatusStore."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from tests.support.account_harness import WEEK, AccountStores
from tests.support.fake_clock import NOON
from vyry.accounts.sessions import Reused, Rotated, Rotation


SOON = NOON + timedelta(seconds=5)


def exchange(old: str, new: str, attempt: UUID | None = None) -> Rotation:
    """A request to exchange one token for another, five seconds after sign-up."""
    return Rotation(old, new, attempt or uuid4(), SOON, WEEK)


async def test_a_refresh_token_is_exchanged_for_its_successor(stores: AccountStores) -> None:
    user = (await stores.sign_up(refresh="r0")).user_id

    outcome = await stores.sessions.rotate(exchange("r0", "r1"))

    assert outcome == Rotated(user, stores.last_device, 1, SOON + WEEK)
    assert isinstance(await stores.sessions.rotate(exchange("r1", "r2")), Rotated)


async def test_an_unknown_token_is_nothing(stores: AccountStores) -> None:
    await stores.sign_up()

    assert await stores.sessions.rotate(exchange("never given", "r1")) is None


async def test_a_token_used_twice_ends_its_family(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    await stores.sessions.rotate(exchange("r0", "r1"))

    outcome = await stores.sessions.rotate(exchange("r0", "r2"))

    standing = (await stores.sessions.load_statuses([stores.last_device]))[stores.last_device]
    assert isinstance(outcome, Reused)
    assert outcome.ended.device == stores.last_device
    assert standing.generation == 2
    assert await stores.sessions.rotate(exchange("r1", "r3")) is None
    assert await stores.sessions.rotate(exchange("r0", "r3")) is None


async def test_a_repeated_attempt_gets_a_fresh_successor_and_the_unseen_one_dies(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    attempt = exchange("r0", "r1")
    await stores.sessions.rotate(attempt)

    again = await stores.sessions.rotate(replace(attempt, successor="r2", now=SOON + timedelta(seconds=30)))

    assert isinstance(again, Rotated)
    assert await stores.sessions.rotate(exchange("r1", "r3")) is None
    assert isinstance(await stores.sessions.rotate(exchange("r2", "r4")), Rotated)


async def test_a_repeated_attempt_after_the_window_ends_the_family(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    attempt = exchange("r0", "r1")
    await stores.sessions.rotate(attempt)

    late = await stores.sessions.rotate(replace(attempt, successor="r2", now=SOON + timedelta(seconds=31)))

    assert isinstance(late, Reused)


async def test_a_repeated_attempt_whose_successor_was_used_ends_the_family(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    attempt = exchange("r0", "r1")
    await stores.sessions.rotate(attempt)
    await stores.sessions.rotate(exchange("r1", "r2"))

    assert isinstance(await stores.sessions.rotate(replace(attempt, successor="r3")), Reused)


async def test_an_idle_token_expires_without_harm_to_its_family(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")

    late = await stores.sessions.rotate(replace(exchange("r0", "r1"), now=NOON + WEEK))

    assert late is None
    assert isinstance(await stores.sessions.rotate(exchange("r0", "r1")), Rotated)


async def test_no_token_outlives_its_family(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")

    ends = []
    for day in (6, 12, 18, 24):
        rotation = replace(exchange(f"r{day - 6}", f"r{day}"), now=NOON + timedelta(days=day))
        outcome = await stores.sessions.rotate(rotation)
        ends.append(outcome.expires_at - NOON if isinstance(outcome, Rotated) else None)

    assert ends == [timedelta(days=13), timedelta(days=19), timedelta(days=25), timedelta(days=30)]
    assert await stores.sessions.rotate(replace(exchange("r24", "r30"), now=NOON + timedelta(days=30))) is None


async def test_of_parallel_exchanges_one_wins_and_the_family_ends(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")

    outcomes = await asyncio.gather(*(stores.sessions.rotate(exchange("r0", f"s{number}")) for number in range(20)))

    kinds = [type(outcome) for outcome in outcomes]
    assert (kinds.count(Rotated), kinds.count(Reused)) == (1, 1)
    assert [await stores.sessions.rotate(exchange(f"s{number}", f"t{number}")) for number in range(20)] == [None] * 20


async def test_parallel_repeats_of_one_attempt_leave_one_living_successor(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    attempt = exchange("r0", "s0")

    outcomes = await asyncio.gather(
        *(stores.sessions.rotate(replace(attempt, successor=f"s{number}")) for number in range(10))
    )

    assert all(isinstance(outcome, Rotated) for outcome in outcomes)
    living = [await stores.sessions.rotate(exchange(f"s{number}", f"t{number}")) for number in range(10)]
    assert [isinstance(outcome, Rotated) for outcome in living].count(True) == 1


async def test_the_tokens_of_an_ended_device_are_dead(stores: AccountStores) -> None:
    user = (await stores.sign_up(refresh="r0")).user_id

    await stores.devices.end(user, stores.last_device, SOON)

    assert await stores.sessions.rotate(exchange("r0", "r1")) is None


async def test_ending_and_rotating_at_once_leaves_no_living_token(stores: AccountStores) -> None:
    for number in range(5):
        user = (await stores.sign_up(f"{number:064}", refresh=f"r{number}")).user_id
        end = stores.devices.end(user, stores.last_device, SOON)
        await asyncio.gather(stores.sessions.rotate(exchange(f"r{number}", f"s{number}")), end)

    assert [await stores.sessions.rotate(exchange(f"s{number}", f"t{number}")) for number in range(5)] == [None] * 5


async def test_standings_tell_the_living_apart(stores: AccountStores) -> None:
    user = (await stores.sign_up("a" * 64, refresh="r1")).user_id
    living = stores.last_device
    gone = (await stores.sign_up("b" * 64, refresh="r2")).user_id
    dead = stores.last_device
    await stores.devices.end(gone, dead, SOON)

    found = await stores.sessions.load_statuses([living, dead, uuid4()])

    assert set(found) == {living}
    standing = found[living]
    assert (standing.user_id, standing.device_id, standing.is_primary, standing.generation) == (user, 1, True, 1)


async def test_the_day_a_device_was_seen_never_goes_back(stores: AccountStores) -> None:
    await stores.sign_up()
    tomorrow = (NOON + timedelta(days=1)).date()

    await stores.sessions.record_last_seen([stores.last_device], tomorrow)
    await stores.sessions.record_last_seen([stores.last_device], NOON.date())

    standing = (await stores.sessions.load_statuses([stores.last_device]))[stores.last_device]
    assert standing.last_seen_on == tomorrow


async def test_a_token_ends_by_the_confirmed_time_and_its_successor_lives_by_the_clock(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    ahead = replace(exchange("r0", "r1"), now=SOON + timedelta(days=20))

    refused = await stores.sessions.rotate(ahead)
    outcome = await stores.sessions.rotate(replace(ahead, confirmed=SOON))

    assert refused is None
    assert isinstance(outcome, Rotated)
    assert outcome.expires_at == min(ahead.now + WEEK, NOON + timedelta(days=30))


async def test_a_token_used_while_the_clock_was_ahead_is_no_retry_for_days(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    attempt = replace(exchange("r0", "r1"), now=SOON + timedelta(days=2))
    await stores.sessions.rotate(attempt)

    assert isinstance(await stores.sessions.rotate(replace(attempt, successor="r2", now=SOON)), Reused)


async def test_a_clock_that_is_behind_does_not_make_a_device_seen_long_ago(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    await stores.sessions.rotate(replace(exchange("r0", "r1"), now=SOON - timedelta(days=100)))

    standing = (await stores.sessions.load_statuses([stores.last_device]))[stores.last_device]
    assert standing.last_seen_on == NOON.date()
