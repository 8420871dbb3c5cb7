"""Contract of PrekeyStore."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.directory_harness import (
    IDENTITY,
    LAST_RESORT,
    NOON,
    DirectoryHarness,
    claimed_key_ids,
    make_refill,
    make_upload,
    open_directory,
)
from vyry.accounts.account import Caller
from vyry.devices.keyset import Bundle, HighestIds, KeyRefill, SignedPrekey, Suite
from vyry.devices.prekeys import Relationship
from vyry.errors import IdentityMismatch, InvalidKeys, InvalidToken, NotFound
from vyry.kernel.ids import DeviceId, MailboxKey, UserId, new_id


NOBODY = MailboxKey(0)


@pytest.fixture
async def harness(mail_url: str | None) -> AsyncIterator[DirectoryHarness]:
    async with open_directory(mail_url) as harness:
        yield harness


@pytest.fixture
async def bo(harness: DirectoryHarness) -> Caller:
    return await harness.add_device(await harness.add_account())


async def claim(harness: DirectoryHarness, user: UserId) -> Bundle:
    return (await harness.prekeys.claim(user, None, NOBODY)).bundles[0]


async def test_what_was_uploaded_is_what_is_there(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)

    state = await harness.prekeys.state(bo.mailbox)

    assert state
    assert [(key.id, key.key) for key in state.one_time] == [(1, b"ec 1"), (2, b"ec 2"), (3, b"ec 3")]
    assert [(key.id, key.key) for key in state.pq] == [(1, b"pq 1"), (2, b"pq 2")]
    assert (state.signed_prekey_id, state.signed_prekey_at) == (1, NOON)
    assert (state.last_resort_uses, state.issued_through) == (0, HighestIds(0, 0))


async def test_before_the_first_upload_there_is_nothing(harness: DirectoryHarness, bo: Caller) -> None:
    assert await harness.prekeys.state(bo.mailbox) is None
    assert await harness.prekeys.identity(bo.mailbox) is None
    keys = await harness.prekeys.keys(bo.user_id)

    assert (keys.identity_key, keys.suite, list(keys.devices)) == (None, None, [])
    assert (await harness.prekeys.claim(bo.user_id, None, NOBODY)).bundles == []


async def test_an_upload_makes_the_device_a_recipient_under_a_new_epoch(harness: DirectoryHarness, bo: Caller) -> None:
    before = (await harness.lists.load_lists([bo.user_id]))[bo.user_id]

    await harness.prekeys.replace(bo, make_upload(), NOON)

    after = (await harness.lists.load_lists([bo.user_id]))[bo.user_id]
    assert (before.epoch + 1, dict(before.devices)) == (after.epoch, {})
    assert {number: (each.registration_id, each.mailbox) for number, each in after.devices.items()} == {
        1: (77, bo.mailbox)
    }


async def test_a_live_device_keeps_its_registration_id_and_its_epoch(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)
    first = (await harness.prekeys.keys(bo.user_id)).epoch

    await harness.prekeys.replace(bo, make_upload(range(4, 6)), NOON)
    with pytest.raises(InvalidKeys, match="registrationId: must stay 77"):
        await harness.prekeys.replace(bo, make_upload(range(6, 8), registration_id=78), NOON)

    keys, state = await harness.prekeys.keys(bo.user_id), await harness.prekeys.state(bo.mailbox)
    assert state
    assert ([each.registration_id for each in keys.devices], keys.epoch) == ([77], first)
    assert [key.id for key in state.one_time] == [4, 5]


async def test_the_lists_of_unknown_accounts_are_absent(harness: DirectoryHarness, bo: Caller) -> None:
    lists = await harness.lists.load_lists([bo.user_id, UserId(new_id())])

    assert lists.keys() == {bo.user_id}


async def test_keys_are_listed_without_being_used(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)

    keys = await harness.prekeys.keys(bo.user_id)

    assert (keys.suite, keys.identity_key) == (Suite.VYRY, b"identity")
    assert [(each.device_id, each.registration_id, each.identity) for each in keys.devices] == [(1, 77, IDENTITY)]
    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert len(state.one_time) == 3


async def test_a_claim_takes_the_lowest_ids(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)

    bundle = await claim(harness, bo.user_id)

    assert bundle.one_time
    assert (bundle.one_time.id, bundle.one_time.key) == (1, b"ec 1")
    assert bundle.pq == SignedPrekey(1, b"pq 1", b"signature 1")
    assert (bundle.device.registration_id, bundle.device.identity) == (77, IDENTITY)
    assert not bundle.is_last_resort
    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert ([key.id for key in state.one_time], [key.id for key in state.pq]) == ([2, 3], [2])
    assert state.issued_through == HighestIds(1, 1)


async def test_an_empty_directory_gives_the_last_resort_and_counts_it(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(0), range(0)), NOON)

    bundles = [await claim(harness, bo.user_id) for _ in range(2)]

    assert [(each.one_time, each.pq, each.is_last_resort) for each in bundles] == [(None, LAST_RESORT, True)] * 2
    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert state.last_resort_uses == 2


async def test_a_claim_beyond_the_limits_takes_no_one_time_key(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)

    spared = await harness.prekeys.claim(bo.user_id, None, NOBODY, takes_one_time=False)

    (bundle,) = spared.bundles
    assert (bundle.one_time, bundle.pq, bundle.is_last_resort, spared.low_counts) == (None, LAST_RESORT, True, {})
    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert (len(state.one_time), len(state.pq), state.last_resort_uses) == (3, 2, 1)
    assert state.issued_through == HighestIds(0, 0)


async def test_a_claimer_is_a_stranger_until_the_owner_has_written_or_they_are_friends(
    harness: DirectoryHarness, bo: Caller
) -> None:
    ann = await harness.add_account()
    seen = []

    chat, _ = await harness.conversations.open_direct(ann, bo.user_id, NOON)
    for writer in (ann, bo.user_id):
        seen.append(await harness.prekeys.relationship(bo.user_id, ann))
        await harness.conversations.note_writers([(chat.conversation_id, writer)])
        seen.append(await harness.prekeys.relationship(bo.user_id, ann))
    await harness.friends.send_request(ann, bo.user_id, NOON)
    seen.append(await harness.prekeys.relationship(bo.user_id, ann))
    await harness.friends.accept(bo.user_id, ann, NOON)
    seen.append(await harness.prekeys.relationship(bo.user_id, ann))
    await harness.blocks.block(bo.user_id, ann, NOON)
    seen.append(await harness.prekeys.relationship(bo.user_id, ann))

    stages = ["STRANGER", "STRANGER", "STRANGER", "ACQUAINTED", "ACQUAINTED", "FRIEND", "HIDDEN"]
    assert [each.name for each in seen] == stages
    assert await harness.prekeys.relationship(bo.user_id, bo.user_id) is Relationship.FRIEND
    assert await harness.prekeys.relationship(bo.user_id, UserId(new_id())) is Relationship.STRANGER


async def test_a_claim_covers_all_devices_but_the_one_that_asks(harness: DirectoryHarness, bo: Caller) -> None:
    tablet, laptop = await harness.add_device(bo.user_id, 2), await harness.add_device(bo.user_id, 3)
    await harness.add_device(bo.user_id, 4)
    for each in (bo, tablet, laptop):
        await harness.prekeys.replace(each, make_upload(), NOON)

    whole = await harness.prekeys.claim(bo.user_id, None, bo.mailbox)
    named = await harness.prekeys.claim(bo.user_id, {DeviceId(3)}, bo.mailbox)

    assert [bundle.device.device_id for bundle in whole.bundles] == [2, 3]
    assert [bundle.device.device_id for bundle in named.bundles] == [3]
    assert whole.epoch == (await harness.prekeys.keys(bo.user_id)).epoch


async def test_an_unknown_device_number_consumes_nothing(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.add_device(bo.user_id, 2)
    await harness.prekeys.replace(bo, make_upload(), NOON)

    for numbers in ({DeviceId(1), DeviceId(9)}, {DeviceId(2)}):
        with pytest.raises(NotFound):
            await harness.prekeys.claim(bo.user_id, numbers, NOBODY)

    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert (len(state.one_time), state.issued_through) == (3, HighestIds(0, 0))


async def test_an_unknown_account_has_no_keys(harness: DirectoryHarness) -> None:
    with pytest.raises(NotFound):
        await harness.prekeys.claim(UserId(new_id()), None, NOBODY)
    with pytest.raises(NotFound):
        await harness.prekeys.keys(UserId(new_id()))


async def test_an_ended_device_can_neither_upload_nor_be_claimed(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)
    await harness.end_device(bo)

    with pytest.raises(InvalidToken):
        await harness.prekeys.replace(bo, make_upload(range(9, 10)), NOON)
    with pytest.raises(InvalidToken):
        await harness.prekeys.refill(bo, IDENTITY, make_refill(range(9, 10)), NOON)

    assert (await harness.prekeys.claim(bo.user_id, None, NOBODY)).bundles == []
    assert not (await harness.lists.load_lists([bo.user_id]))[bo.user_id].devices


async def test_the_devices_of_an_account_share_one_identity(harness: DirectoryHarness, bo: Caller) -> None:
    tablet = await harness.add_device(bo.user_id, 2)
    await harness.prekeys.replace(bo, make_upload(), NOON)

    with pytest.raises(IdentityMismatch):
        await harness.prekeys.replace(tablet, make_upload(identity=replace(IDENTITY, key=b"another")), NOON)

    assert await harness.prekeys.state(tablet.mailbox) is None


async def test_of_two_first_uploads_one_decides_the_identity(harness: DirectoryHarness, bo: Caller) -> None:
    tablet = await harness.add_device(bo.user_id, 2)

    outcomes = await asyncio.gather(
        harness.prekeys.replace(bo, make_upload(), NOON),
        harness.prekeys.replace(tablet, make_upload(identity=replace(IDENTITY, key=b"another")), NOON),
        return_exceptions=True,
    )

    assert [type(each) for each in outcomes if each] == [IdentityMismatch]
    assert len((await harness.prekeys.keys(bo.user_id)).devices) == 1


async def test_a_number_given_again_needs_another_registration_id(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(registration_id=77), NOON)
    await harness.end_device(bo)
    again = await harness.add_device(bo.user_id, 1)

    with pytest.raises(InvalidKeys, match="registrationId"):
        await harness.prekeys.replace(again, make_upload(registration_id=77), NOON)
    await harness.prekeys.replace(again, make_upload(registration_id=78), NOON)

    assert (await claim(harness, bo.user_id)).device.registration_id == 78


async def test_a_replacing_upload_goes_beyond_what_was_handed_out(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)
    await claim(harness, bo.user_id)

    with pytest.raises(InvalidKeys, match=r"oneTimePrekeys\.0\.id"):
        await harness.prekeys.replace(bo, make_upload(range(1, 3), range(5, 6)), NOON)
    with pytest.raises(InvalidKeys, match=r"pqPrekeys\.0\.id"):
        await harness.prekeys.replace(bo, make_upload(range(5, 6), range(1, 3)), NOON)
    await harness.prekeys.replace(bo, make_upload(range(2, 3), range(2, 3)), NOON)

    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert ([key.id for key in state.one_time], state.issued_through) == ([2], HighestIds(1, 1))


async def test_added_keys_come_after_all_that_were_there(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(), NOON)

    with pytest.raises(InvalidKeys, match=r"oneTimePrekeys\.0\.id: must be above 3"):
        await harness.prekeys.refill(bo, IDENTITY, make_refill(range(3, 5)), NOON)
    await harness.prekeys.refill(bo, IDENTITY, make_refill(range(4, 6), range(3, 4)), NOON)

    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert ([key.id for key in state.one_time], [key.id for key in state.pq]) == ([1, 2, 3, 4, 5], [1, 2, 3])


async def test_added_keys_must_belong_to_the_set_they_were_verified_for(harness: DirectoryHarness, bo: Caller) -> None:
    with pytest.raises(InvalidKeys):
        await harness.prekeys.refill(bo, IDENTITY, make_refill(range(1, 2)), NOON)
    await harness.prekeys.replace(bo, make_upload(), NOON)

    with pytest.raises(InvalidKeys):
        await harness.prekeys.refill(bo, replace(IDENTITY, dh_key=b"before"), make_refill(range(9, 10)), NOON)

    assert await harness.prekeys.identity(bo.mailbox) == IDENTITY


async def test_nobody_hoards_keys(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 2)), NOON)

    with pytest.raises(InvalidKeys, match="at most 1000"):
        await harness.prekeys.refill(bo, IDENTITY, make_refill(range(2, 1002)), NOON)


async def test_a_new_signed_prekey_is_young_and_a_new_last_resort_unused(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(0), range(0)), NOON)
    await claim(harness, bo.user_id)
    later = NOON + timedelta(days=7)

    await harness.prekeys.replace(bo, make_upload(range(1, 3), range(0)), later)
    kept = await harness.prekeys.state(bo.mailbox)
    rotated = KeyRefill((), (), SignedPrekey(2, b"new", b"s"), SignedPrekey(2, b"new last", b"s"))
    await harness.prekeys.refill(bo, IDENTITY, rotated, later)
    fresh = await harness.prekeys.state(bo.mailbox)

    assert kept
    assert fresh
    assert (kept.signed_prekey_at, kept.last_resort_uses) == (NOON, 1)
    assert (fresh.signed_prekey_id, fresh.signed_prekey_at, fresh.last_resort_uses) == (2, later, 0)
    assert len(fresh.one_time) == 2


async def test_running_low_is_told_once_per_refill(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 22), range(1, 24)), NOON)

    told = [(await harness.prekeys.claim(bo.user_id, None, NOBODY)).low_counts for _ in range(5)]
    await harness.prekeys.refill(bo, IDENTITY, make_refill(range(22, 27)), NOON)
    again = [(await harness.prekeys.claim(bo.user_id, None, NOBODY)).low_counts for _ in range(3)]

    assert told == [{}, {bo.mailbox: HighestIds(19, 21)}, {}, {}, {}]
    assert again == [{}, {bo.mailbox: HighestIds(19, 16)}, {}]


async def test_a_device_that_never_had_many_keys_is_not_told(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 20), range(0)), NOON)

    assert (await harness.prekeys.claim(bo.user_id, None, NOBODY)).low_counts == {}


async def test_of_many_takers_no_two_get_the_same_key(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 51), range(1, 41)), NOON)

    claims = await asyncio.gather(*(harness.prekeys.claim(bo.user_id, None, NOBODY) for _ in range(60)))

    one_time, pq = claimed_key_ids(claims)
    assert sorted(one_time) == list(range(1, 51))
    assert sorted(pq) == list(range(1, 41))
    state = await harness.prekeys.state(bo.mailbox)
    assert state
    assert (state.last_resort_uses, state.issued_through) == (20, HighestIds(50, 40))


async def test_nothing_is_given_twice_while_the_set_is_replaced(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 101), range(1, 101)), NOON)

    takers = [harness.prekeys.claim(bo.user_id, None, NOBODY) for _ in range(60)]
    claims, _ = await asyncio.gather(asyncio.gather(*takers), replace_often(harness, bo))

    one_time, pq = claimed_key_ids(claims)
    assert len(one_time) == len(set(one_time))
    assert len(pq) == len(set(pq))


async def replace_often(harness: DirectoryHarness, owner: Caller) -> None:
    """Upload complete sets with overlapping ids, repeatedly; a set with a claimed id is refused."""
    for lowest in range(1, 60):
        with suppress(InvalidKeys):
            await harness.prekeys.replace(owner, make_upload(range(lowest, 101), range(lowest, 101)), NOON)
