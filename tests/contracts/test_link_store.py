"""Contract of LinkStore. Each theft of a link is attempted at each of its stages."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.fake_clock import NOON
from tests.support.link_harness import EXPIRES, LinkHarness, make_approval, make_scan, open_link_harness
from vyry.accounts.account import Caller, Platform
from vyry.devices.keyset import Identity, Suite
from vyry.devices.links import LinkedDevice, LinkStatus, ScannedLink, next_device_id
from vyry.errors import (
    AlreadyUsed,
    DeviceLimit,
    Forbidden,
    IdentityMismatch,
    InvalidKeys,
    InvalidToken,
    NotFound,
)
from vyry.kernel.ids import MailboxKey, new_id


@pytest.fixture
async def room(mail_url: str | None) -> AsyncIterator[LinkHarness]:
    async with open_link_harness(mail_url) as room:
        yield room


@pytest.fixture
async def ann(room: LinkHarness) -> Caller:
    return await room.add_owner("a")


@pytest.fixture
async def eve(room: LinkHarness) -> Caller:
    return await room.add_owner("e")


async def test_a_new_device_is_linked_step_by_step(room: LinkHarness, ann: Caller) -> None:
    link = await room.request_link()
    steps = [(await room.link_status(link.link_id)).status]

    shown = await room.links.scan(make_scan(link.link_id, ann))
    steps.append((await room.link_status(link.link_id)).status)
    await room.links.approve(make_approval(link.link_id, ann))
    steps.append((await room.link_status(link.link_id)).status)
    provisioning = await room.links.claim_provisioning(link.link_id, "token", NOON)
    made = await room.links.complete(room.make_completion("token"))

    assert shown == ScannedLink(link.public_key, "tablet", Platform.WEB, "192.0.2.0/24", EXPIRES)
    assert steps == [LinkStatus.WAITING, LinkStatus.SCANNED, LinkStatus.APPROVED]
    assert (provisioning, (await room.link_status(link.link_id)).approver_public_key) == (b"sealed", b"e" * 32)
    assert made == LinkedDevice(ann.user_id, next_device_id(1, {1}), has_display_name=False)


async def test_the_new_device_is_linked_and_has_its_keys(room: LinkHarness, ann: Caller) -> None:
    before = await room.stores.devices.list(ann.user_id)

    await room.link_device(ann)

    after = await room.stores.devices.list(ann.user_id)
    bundles = (await room.prekeys.claim(ann.user_id, None, MailboxKey(0))).bundles
    assert [(each.device_id, each.is_primary, each.name) for each in after.devices][1:] == [(2, False, "tablet")]
    assert [bundle.device.device_id for bundle in bundles] == [1, 2]
    assert after.epoch > before.epoch or room.memory_accounts is not None


async def test_of_fifty_completions_at_once_one_makes_a_device(room: LinkHarness, ann: Caller) -> None:
    _, token_hash = await room.approved_link(ann)

    tries = (room.links.complete(room.make_completion(token_hash)) for _ in range(50))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    assert [type(each) for each in outcomes].count(LinkedDevice) == 1
    assert [type(each) for each in outcomes].count(AlreadyUsed) == 49
    assert await room.device_ids(ann.user_id) == [1, 2]


async def test_a_token_completes_once(room: LinkHarness, ann: Caller) -> None:
    _, token_hash = await room.approved_link(ann)
    await room.links.complete(room.make_completion(token_hash))

    for replay in (room.links.complete(room.make_completion(token_hash)), room.links.find_account(token_hash, NOON)):
        with pytest.raises(AlreadyUsed):
            await replay


async def test_what_is_given_once_is_given_to_one(room: LinkHarness, ann: Caller) -> None:
    link_id = await room.scanned_link(ann)
    await room.links.approve(make_approval(link_id, ann))

    given = await asyncio.gather(*(room.links.claim_provisioning(link_id, f"token {n}", NOON) for n in range(20)))

    assert sorted(given, key=bool) == [None] * 19 + [b"sealed"]
    assert (await room.link_status(link_id)).is_delivered
    good = given.index(b"sealed")
    for other in {0, 19} - {good}:
        with pytest.raises(InvalidToken):
            await room.links.complete(room.make_completion(f"token {other}"))
    await room.links.complete(room.make_completion(f"token {good}"))


async def test_nothing_is_taken_before_it_is_approved(room: LinkHarness, ann: Caller) -> None:
    waiting, scanned = (await room.request_link()).link_id, await room.scanned_link(ann)

    assert [await room.links.claim_provisioning(each, "token", NOON) for each in (waiting, scanned)] == [None, None]


async def test_of_two_accounts_that_scan_at_once_one_owns_the_link(room: LinkHarness, ann: Caller, eve: Caller) -> None:
    link_id = (await room.request_link()).link_id

    tries = [room.links.scan(make_scan(link_id, who)) for who in (ann, eve) * 10]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    winner, loser = (ann, eve) if any(isinstance(each, ScannedLink) for each in outcomes[0::2]) else (eve, ann)
    assert (await room.link_status(link_id)).user_id == winner.user_id
    assert [type(each) for each in outcomes].count(ScannedLink) == 1
    assert [type(each) for each in outcomes].count(NotFound) == 10
    assert [type(each) for each in outcomes].count(AlreadyUsed) == 9
    with pytest.raises(NotFound):
        await room.links.approve(make_approval(link_id, loser))


async def test_a_link_of_another_account_is_none(room: LinkHarness, ann: Caller, eve: Caller) -> None:
    scanned, (approved, _) = await room.scanned_link(ann), await room.approved_link(ann)

    for link_id in (scanned, approved, new_id()):
        for step in (
            room.links.scan(make_scan(link_id, eve)),
            room.links.approve(make_approval(link_id, eve)),
            room.links.reject(link_id, eve, NOON),
        ):
            with pytest.raises(NotFound):
                await step
    assert (await room.link_status(scanned)).status is LinkStatus.SCANNED
    assert (await room.link_status(approved)).status is LinkStatus.APPROVED


async def test_steps_are_taken_in_their_order_and_once(room: LinkHarness, ann: Caller) -> None:
    waiting, scanned, (approved, _) = (
        (await room.request_link()).link_id,
        await room.scanned_link(ann),
        await room.approved_link(ann),
    )
    rejected = await room.scanned_link(ann)
    await room.links.reject(rejected, ann, NOON)

    for step in (
        room.links.approve(make_approval(waiting, ann)),
        room.links.reject(waiting, ann, NOON),
        room.links.scan(make_scan(scanned, ann)),
        room.links.approve(make_approval(approved, ann)),
        room.links.approve(make_approval(rejected, ann)),
        room.links.scan(make_scan(rejected, ann)),
    ):
        with pytest.raises(AlreadyUsed):
            await step


async def test_of_two_approvals_at_once_one_counts(room: LinkHarness, ann: Caller) -> None:
    link_id = await room.scanned_link(ann)

    outcomes = await asyncio.gather(
        *(room.links.approve(make_approval(link_id, ann)) for _ in range(10)), return_exceptions=True
    )

    assert [type(each) for each in outcomes].count(AlreadyUsed) == 9


async def test_only_the_device_that_scanned_approves(room: LinkHarness, ann: Caller) -> None:
    tablet = await room.find_caller(await newest(room, ann))
    assert tablet
    link_id = await room.scanned_link(tablet)

    with pytest.raises(Forbidden):
        await room.links.approve(make_approval(link_id, ann))
    await room.links.approve(make_approval(link_id, tablet))

    assert (await room.link_status(link_id)).status is LinkStatus.APPROVED


async def newest(room: LinkHarness, by: Caller) -> UUID:
    await room.link_device(by)
    return (await room.stores.devices.list(by.user_id)).devices[-1].device


async def test_what_was_rejected_after_all_is_never_completed(room: LinkHarness, ann: Caller) -> None:
    link_id, token_hash = await room.approved_link(ann)

    await room.links.reject(link_id, ann, NOON)
    await room.links.reject(link_id, ann, NOON)

    assert (await room.link_status(link_id)).status is LinkStatus.REJECTED
    for late in (room.links.find_account(token_hash, NOON), room.links.complete(room.make_completion(token_hash))):
        with pytest.raises(InvalidToken):
            await late


async def test_what_was_completed_is_not_rejected(room: LinkHarness, ann: Caller) -> None:
    link_id, token_hash = await room.approved_link(ann)
    await room.links.complete(room.make_completion(token_hash))

    with pytest.raises(AlreadyUsed):
        await room.links.reject(link_id, ann, NOON)


async def test_a_link_ends_with_its_time_at_every_stage(room: LinkHarness, ann: Caller) -> None:
    waiting, scanned, (approved, token_hash) = (
        (await room.request_link()).link_id,
        await room.scanned_link(ann),
        await room.approved_link(ann),
    )
    untaken = await room.scanned_link(ann)
    await room.links.approve(make_approval(untaken, ann))

    for link_id in (waiting, scanned, approved, untaken):
        assert (await room.link_status(link_id, EXPIRES)).status is LinkStatus.EXPIRED
    for late in (
        room.links.scan(make_scan(waiting, ann, EXPIRES)),
        room.links.approve(make_approval(scanned, ann, EXPIRES)),
        room.links.reject(approved, ann, EXPIRES),
    ):
        with pytest.raises(NotFound):
            await late
    assert await room.links.claim_provisioning(untaken, "token", EXPIRES) is None
    for too_late in (
        room.links.find_account(token_hash, EXPIRES),
        room.links.complete(room.make_completion(token_hash, at=EXPIRES)),
    ):
        with pytest.raises(InvalidToken):
            await too_late


async def test_a_link_lives_until_its_time(room: LinkHarness, ann: Caller) -> None:
    _, token_hash = await room.approved_link(ann)

    made = await room.links.complete(room.make_completion(token_hash, at=EXPIRES - timedelta(milliseconds=1)))

    assert made.device_id == 2


async def test_a_link_ends_with_the_device_that_scanned(room: LinkHarness, ann: Caller) -> None:
    tablet = await room.find_caller(await newest(room, ann))
    assert tablet
    scanned, (approved, token_hash) = await room.scanned_link(tablet), await room.approved_link(tablet)

    await room.end_device(tablet)

    assert [(await room.link_status(each)).status for each in (scanned, approved)] == [LinkStatus.REJECTED] * 2
    with pytest.raises(InvalidToken):
        await room.links.complete(room.make_completion(token_hash))
    assert await room.device_ids(ann.user_id) == [1]


async def test_a_link_ends_with_the_tokens_of_the_device_that_scanned(room: LinkHarness) -> None:
    ann = await room.add_owner()
    link_id = await room.scanned_link(ann)
    await room.links.approve(make_approval(link_id, ann))

    await room.revoke_tokens("refresh 1")

    assert await room.links.claim_provisioning(link_id, "token", NOON) is None
    assert (await room.link_status(link_id)).status is LinkStatus.REJECTED


async def test_a_new_sign_up_ends_the_links_of_the_old_devices(room: LinkHarness, ann: Caller) -> None:
    _, token_hash = await room.approved_link(ann)

    again = await room.add_owner("a", has_keys=False)

    with pytest.raises(InvalidToken):
        await room.links.complete(room.make_completion(token_hash))
    assert await room.device_ids(again.user_id) == [1]


async def test_the_limit_of_devices_holds_at_approval_and_at_completion(room: LinkHarness, ann: Caller) -> None:
    early = await room.approved_link(ann)
    scanned = await room.scanned_link(ann)
    await room.link_device(ann)

    with pytest.raises(DeviceLimit):
        await room.links.approve(make_approval(scanned, ann, most=2))
    with pytest.raises(DeviceLimit):
        await room.links.complete(room.make_completion(early[1], most=2))

    assert await room.device_ids(ann.user_id) == [1, 2]
    assert (await room.link_status(scanned)).status is LinkStatus.SCANNED
    assert (await room.links.complete(room.make_completion(early[1], most=3))).device_id == 3


async def test_links_completed_at_once_never_make_more_devices_than_allowed(room: LinkHarness, ann: Caller) -> None:
    tokens = [(await room.approved_link(ann))[1] for _ in range(8)]

    outcomes = await asyncio.gather(
        *(room.links.complete(room.make_completion(each)) for each in tokens), return_exceptions=True
    )

    assert [type(each) for each in outcomes].count(LinkedDevice) == 5
    assert await room.device_ids(ann.user_id) == [1, 2, 3, 4, 5, 6]


async def test_another_identity_leaves_the_token_good(room: LinkHarness, ann: Caller) -> None:
    _, token_hash = await room.approved_link(ann)
    stranger = Identity(Suite.VYRY, b"another", b"dh", b"dh signature")

    with pytest.raises(IdentityMismatch):
        await room.links.complete(room.make_completion(token_hash, identity=stranger))

    assert await room.device_ids(ann.user_id) == [1]
    assert (await room.links.complete(room.make_completion(token_hash))).device_id == 2


async def test_a_number_given_again_needs_another_registration_id(room: LinkHarness, ann: Caller) -> None:
    first = room.make_completion((await room.approved_link(ann))[1])
    await room.links.complete(first)
    again = await room.add_owner("a", has_keys=False)
    _, token_hash = await room.approved_link(again)

    with pytest.raises(InvalidKeys):
        await room.links.complete(replace(room.make_completion(token_hash), upload=first.upload))

    assert await room.device_ids(ann.user_id) == [1]
    assert (await room.links.complete(room.make_completion(token_hash))).device_id == 2


async def test_numbers_rise_also_over_devices_that_ended(room: LinkHarness, ann: Caller) -> None:
    tablet = await room.find_caller(await newest(room, ann))
    assert tablet
    await room.end_device(tablet)

    assert (await room.link_device(ann)).device_id == 3
    assert await room.device_ids(ann.user_id) == [1, 3]


async def test_an_unknown_token_completes_nothing(room: LinkHarness) -> None:
    for lost in (
        room.links.find_account("never given", NOON),
        room.links.complete(room.make_completion("never given")),
    ):
        with pytest.raises(InvalidToken):
            await lost


async def test_unknown_links_are_absent(room: LinkHarness) -> None:
    assert await room.links.load_states([new_id()], NOON) == {}


@pytest.mark.parametrize(
    ("last", "live", "following"),
    [(0, set(), 1), (1, {1}, 2), (126, {1}, 127), (127, {1, 2}, 3), (5, set(range(1, 127)), 127)],
)
def test_numbers_go_round_and_skip_live_ones(last: int, live: set[int], following: int) -> None:
    assert next_device_id(last, live) == following
