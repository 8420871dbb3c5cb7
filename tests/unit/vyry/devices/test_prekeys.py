"""The key directory: checks, limits and the notice that keys run low."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from tests.support.directory_harness import MemoryDirectory, make_upload
from tests.support.fake_clock import FakeClock
from tests.unit.vyry.devices.test_key_suites import libsignal_upload, vyry_upload
from vyry.accounts.account import Caller
from vyry.clock import Clock
from vyry.devices.keyset import HighestIds, KeyRefill, KeyState, OneTimePrekey, Suite
from vyry.devices.prekeys import LowPrekeyListener, Prekeys, PrekeyStore, RestoreGuard
from vyry.errors import InvalidKeys, NotFound, RateLimited, Unavailable
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import MailboxKey, UserId, new_id
from vyry.limits import Grant, Limiter, Quota


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class UnavailableLimiter:
    """A limiter that is down."""

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        assert quota.is_fail_closed
        raise Unavailable


class PassingRestoreGuard:
    """A guard of a database that is never restored."""

    async def begin_claim(self) -> int:
        return 0

    async def confirm_claim(self, begun: int) -> None:
        """Accept the claim."""


class FailingRestoreGuard:
    """A guard that finds, after a claim was committed, that the database was restored."""

    async def begin_claim(self) -> int:
        return 0

    async def confirm_claim(self, begun: int) -> None:
        raise Unavailable


class RecordingListener:
    """Records notifications."""

    def __init__(self) -> None:
        self.remaining: dict[MailboxKey, HighestIds] = {}

    async def prekeys_low(self, remaining: Mapping[MailboxKey, HighestIds]) -> None:
        self.remaining |= remaining


def build_prekeys(
    store: PrekeyStore,
    *,
    limiter: Limiter | None = None,
    clock: Clock | None = None,
    listener: LowPrekeyListener | None = None,
    restore_guard: RestoreGuard | None = None,
) -> Prekeys:
    """The service, with fakes for the other dependencies."""
    return Prekeys(
        store,
        limiter=limiter or InProcessLimiter(),
        clock=clock or FakeClock(NOON),
        listener=listener or RecordingListener(),
        restore_guard=restore_guard or PassingRestoreGuard(),
    )


@pytest.fixture
def harness() -> MemoryDirectory:
    return MemoryDirectory()


@pytest.fixture
def told() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def prekeys(harness: MemoryDirectory, told: RecordingListener) -> Prekeys:
    return build_prekeys(harness.prekeys, listener=told)


@pytest.fixture
async def ann(harness: MemoryDirectory) -> Caller:
    return await harness.add_device(await harness.add_account())


@pytest.fixture
async def bo(harness: MemoryDirectory) -> Caller:
    return await harness.add_device(await harness.add_account())


async def test_an_upload_is_answered_with_the_state_after_it(prekeys: Prekeys, bo: Caller) -> None:
    state = await prekeys.replace(bo, vyry_upload())

    assert [key.id for key in state.one_time] == [1, 2, 9]
    assert state.signed_prekey_at == NOON
    assert await prekeys.state(bo) == state


async def test_a_bad_upload_changes_nothing(prekeys: Prekeys, bo: Caller) -> None:
    good, other = vyry_upload(), vyry_upload()
    await prekeys.replace(bo, good)

    with pytest.raises(InvalidKeys, match="does not verify"):
        await prekeys.refill(bo, KeyRefill(pq=other.pq))

    assert len((await prekeys.state(bo)).pq) == 2


async def test_keys_are_added_under_the_identity_of_the_device(prekeys: Prekeys, bo: Caller) -> None:
    await prekeys.replace(bo, libsignal_upload())
    key = b"\5" + bytes(range(32))

    state = await prekeys.refill(bo, KeyRefill([OneTimePrekey(2, key)]))

    assert state.one_time[-1] == OneTimePrekey(2, key)
    assert (await prekeys.keys(bo, bo.user_id)).suite is Suite.LIBSIGNAL


async def test_there_must_be_a_set_to_add_to(prekeys: Prekeys, bo: Caller) -> None:
    with pytest.raises(InvalidKeys, match="no keys yet"):
        await prekeys.refill(bo, KeyRefill())

    assert await prekeys.state(bo) == KeyState()


async def test_a_device_asks_for_the_keys_of_one_person_six_times_at_once(
    prekeys: Prekeys, ann: Caller, bo: Caller
) -> None:
    await prekeys.replace(bo, vyry_upload())

    for _ in range(6):
        await prekeys.claim(ann, bo.user_id, None)
    with pytest.raises(RateLimited) as refusal:
        await prekeys.claim(ann, bo.user_id, None)

    assert refusal.value.members["retry_after_seconds"] == pytest.approx(timedelta(minutes=10).total_seconds(), abs=2)
    assert (await prekeys.claim(ann, ann.user_id, None))[0].bundles == []


async def strangers(harness: MemoryDirectory, count: int) -> list[Caller]:
    return [await harness.add_device(await harness.add_account()) for _ in range(count)]


async def use_up_claims(prekeys: Prekeys, crowd: list[Caller], user: UserId) -> None:
    """Claim as often as the quota of each device allows."""
    await asyncio.gather(*(prekeys.claim(each, user, None) for each in crowd for _ in range(6)))


async def test_an_attacker_with_fifty_accounts_empties_forty_an_hour_and_is_refused_nothing(
    prekeys: Prekeys, harness: MemoryDirectory, bo: Caller
) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 101), range(1, 101)), NOON)

    await use_up_claims(prekeys, await strangers(harness, 50), bo.user_id)

    state = await prekeys.state(bo)
    assert (len(state.one_time), len(state.pq), state.last_resort_uses) == (60, 60, 260)


async def test_strangers_leave_one_time_keys_to_those_who_talk_and_they_to_friends(
    prekeys: Prekeys, harness: MemoryDirectory, bo: Caller
) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 101), range(1, 101)), NOON)
    met, (friend, late) = await strangers(harness, 10), await strangers(harness, 2)
    for each in met:
        chat, _ = await harness.conversations.open_direct(each.user_id, bo.user_id, NOON)
        await harness.conversations.note_writers([(chat.conversation_id, bo.user_id)])
    await harness.friends.send_request(friend.user_id, bo.user_id, NOON)
    await harness.friends.accept(bo.user_id, friend.user_id, NOON)
    left = []

    for crowd in (await strangers(harness, 10), met, [friend], [late]):
        await use_up_claims(prekeys, crowd, bo.user_id)
        left.append(len((await prekeys.state(bo)).one_time))

    assert left == [60, 50, 44, 44]


async def test_those_who_are_blocked_use_up_nothing_of_what_others_may_claim(
    prekeys: Prekeys, harness: MemoryDirectory, ann: Caller, bo: Caller
) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 101), range(1, 101)), NOON)
    for each in (crowd := await strangers(harness, 20)):
        await harness.blocks.block(bo.user_id, each.user_id, NOON)

    tries = (prekeys.claim(each, bo.user_id, None) for each in crowd for _ in range(6))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    claimed, grants = await prekeys.claim(ann, bo.user_id, None)

    assert {type(each) for each in outcomes} == {NotFound}
    assert claimed.bundles[0].one_time == OneTimePrekey(1, b"ec 1")
    assert [(name, grant.remaining) for name, grant in grants][1:] == [
        ("claim_strangers", 39),
        ("claim_others", 49),
        ("claim_all", 59),
    ]


async def test_somebody_blocked_is_refused_as_often_as_one_who_asks_for_nobody(
    prekeys: Prekeys, harness: MemoryDirectory, ann: Caller, bo: Caller
) -> None:
    await harness.blocks.block(bo.user_id, ann.user_id, NOON)

    async def answers(user: UserId) -> list[type[BaseException] | None]:
        tries = [await asyncio.gather(prekeys.claim(ann, user, None), return_exceptions=True) for _ in range(8)]
        return [type(each) for (each,) in tries if isinstance(each, BaseException)]

    assert await answers(bo.user_id) == await answers(UserId(new_id())) == [NotFound] * 6 + [RateLimited] * 2


async def test_an_account_uploads_keys_twenty_times_then_waits(
    prekeys: Prekeys, harness: MemoryDirectory, bo: Caller
) -> None:
    tablet = await harness.add_device(bo.user_id, 2)

    for each in [bo, tablet] * 10:
        await prekeys.consume_upload_quota(each)
    with pytest.raises(RateLimited) as refusal:
        await prekeys.consume_upload_quota(bo)

    assert refusal.value.members["retry_after_seconds"] == pytest.approx(180, abs=2)


async def test_nothing_is_claimed_while_claims_cannot_be_counted(
    harness: MemoryDirectory, ann: Caller, bo: Caller
) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)

    with pytest.raises(Unavailable):
        await build_prekeys(harness.prekeys, limiter=UnavailableLimiter()).claim(ann, bo.user_id, None)

    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert len(state.one_time) == 3


async def test_nothing_is_answered_that_the_ledger_did_not_seal(
    harness: MemoryDirectory, ann: Caller, bo: Caller
) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)
    prekeys = build_prekeys(harness.prekeys, restore_guard=FailingRestoreGuard())

    with pytest.raises(Unavailable):
        await prekeys.claim(ann, bo.user_id, None)

    assert (await harness.prekeys.claim(bo.user_id, None, ann.mailbox)).bundles[0].one_time == OneTimePrekey(2, b"ec 2")


async def test_a_claim_tells_what_the_limits_leave(prekeys: Prekeys, ann: Caller, bo: Caller) -> None:
    _, grants = await prekeys.claim(ann, bo.user_id, None)

    limits = [("claim_target", 5), ("claim_strangers", 39), ("claim_others", 49), ("claim_all", 59)]
    assert [(name, grant.remaining) for name, grant in grants] == limits


async def test_a_device_that_runs_low_is_told(
    prekeys: Prekeys, harness: MemoryDirectory, told: RecordingListener, ann: Caller, bo: Caller
) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 21), range(1, 31)), NOON)

    await prekeys.claim(ann, bo.user_id, None)

    assert told.remaining == {bo.mailbox: HighestIds(19, 29)}


async def test_nobody_unknown_has_keys(prekeys: Prekeys, ann: Caller) -> None:
    with pytest.raises(NotFound):
        await prekeys.claim(ann, UserId(new_id()), None)


def test_the_digest_is_over_ids_and_keys_in_order() -> None:
    state = KeyState([OneTimePrekey(1, b"a"), OneTimePrekey(258, b"b")], [OneTimePrekey(7, b"c")])

    assert state.digest() == sha256(b"\0\0\0\1a" + b"\0\0\1\2b" + b"\0\0\0\7c").digest()
    assert KeyState().digest() == sha256(b"").digest()
