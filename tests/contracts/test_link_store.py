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
async def harness(mail_url: str | None) -> AsyncIterator[LinkHarness]:
    async with open_link_harness(mail_url) as harness:
        yield harness


@pytest.fixture
async def ann(harness: LinkHarness) -> Caller:
    return await harness.add_owner("a")


@pytest.fixture
async def eve(harness: LinkHarness) -> Caller:
    return await harness.add_owner("e")


async def test_a_new_device_is_linked_step_by_step(harness: LinkHarness, ann: Caller) -> None:
    link = await harness.request_link()
    steps = [(await harness.link_status(link.link_id)).status]

    shown = await harness.links.scan(make_scan(link.link_id, ann))
    steps.append((await harness.link_status(link.link_id)).status)
    await harness.links.approve(make_approval(link.link_id, ann))
    steps.append((await harness.link_status(link.link_id)).status)
    provisioning = await harness.links.claim_provisioning(link.link_id, "token", NOON)
    made = await harness.links.complete(harness.make_completion("token"))

    assert shown == ScannedLink(link.public_key, "tablet", Platform.WEB, "192.0.2.0/24", EXPIRES)
    assert steps == [LinkStatus.WAITING, LinkStatus.SCANNED, LinkStatus.APPROVED]
    assert (provisioning, (await harness.link_status(link.link_id)).approver_public_key) == (b"sealed", b"e" * 32)
    assert made == LinkedDevice(ann.user_id, next_device_id(1, {1}), has_display_name=False)


async def test_the_new_device_is_linked_and_has_its_keys(harness: LinkHarness, ann: Caller) -> None:
    before = await harness.stores.devices.list(ann.user_id)

    await harness.link_device(ann)

    after = await harness.stores.devices.list(ann.user_id)
    bundles = (await harness.prekeys.claim(ann.user_id, None, MailboxKey(0))).bundles
    assert [(each.device_id, each.is_primary, each.name) for each in after.devices][1:] == [(2, False, "tablet")]
    assert [bundle.device.device_id for bundle in bundles] == [1, 2]
    assert after.epoch > before.epoch or harness.memory_accounts is not None


async def test_of_fifty_completions_at_once_one_makes_a_device(harness: LinkHarness, ann: Caller) -> None:
    _, token_hash = await harness.approved_link(ann)

    tries = (harness.links.complete(harness.make_completion(token_hash)) for _ in range(50))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    assert [type(each) for each in outcomes].count(LinkedDevice) == 1
    assert [type(each) for each in outcomes].count(AlreadyUsed) == 49
    assert await harness.device_ids(ann.user_id) == [1, 2]


async def test_a_token_completes_once(harness: LinkHarness, ann: Caller) -> None:
    _, token_hash = await harness.approved_link(ann)
    await harness.links.complete(harness.make_completion(token_hash))

    for replay in (
        harness.links.complete(harness.make_completion(token_hash)),
        harness.links.find_account(token_hash, NOON),
    ):
        with pytest.raises(AlreadyUsed):
            await replay


async def test_what_is_given_once_is_given_to_one(harness: LinkHarness, ann: Caller) -> None:
    link_id = await harness.scanned_link(ann)
    await harness.links.approve(make_approval(link_id, ann))

    given = await asyncio.gather(*(harness.links.claim_provisioning(link_id, f"token {n}", NOON) for n in range(20)))

    assert sorted(given, key=bool) == [None] * 19 + [b"sealed"]
    assert (await harness.link_status(link_id)).is_delivered
    good = given.index(b"sealed")
    for other in {0, 19} - {good}:
        with pytest.raises(InvalidToken):
            await harness.links.complete(harness.make_completion(f"token {other}"))
    await harness.links.complete(harness.make_completion(f"token {good}"))


async def test_nothing_is_taken_before_it_is_approved(harness: LinkHarness, ann: Caller) -> None:
    waiting, scanned = (await harness.request_link()).link_id, await harness.scanned_link(ann)

    assert [await harness.links.claim_provisioning(each, "token", NOON) for each in (waiting, scanned)] == [None, None]


async def test_of_two_accounts_that_scan_at_once_one_owns_the_link(
    harness: LinkHarness, ann: Caller, eve: Caller
) -> None:
    link_id = (await harness.request_link()).link_id

    tries = [harness.links.scan(make_scan(link_id, who)) for who in (ann, eve) * 10]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    winner, loser = (ann, eve) if any(isinstance(each, ScannedLink) for each in outcomes[0::2]) else (eve, ann)
    assert (await harness.link_status(link_id)).user_id == winner.user_id
    assert [type(each) for each in outcomes].count(ScannedLink) == 1
    assert [type(each) for each in outcomes].count(NotFound) == 10
    assert [type(each) for each in outcomes].count(AlreadyUsed) == 9
    with pytest.raises(NotFound):
        await harness.links.approve(make_approval(link_id, loser))


async def test_a_link_of_another_account_is_none(harness: LinkHarness, ann: Caller, eve: Caller) -> None:
    scanned, (approved, _) = await harness.scanned_link(ann), await harness.approved_link(ann)

    for link_id in (scanned, approved, new_id()):
        for step in (
            harness.links.scan(make_scan(link_id, eve)),
            harness.links.approve(make_approval(link_id, eve)),
            harness.links.reject(link_id, eve, NOON),
        ):
            with pytest.raises(NotFound):
                await step
    assert (await harness.link_status(scanned)).status is LinkStatus.SCANNED
    assert (await harness.link_status(approved)).status is LinkStatus.APPROVED


async def test_steps_are_taken_in_their_order_and_once(harness: LinkHarness, ann: Caller) -> None:
    waiting, scanned, (approved, _) = (
        (await harness.request_link()).link_id,
        await harness.scanned_link(ann),
        await harness.approved_link(ann),
    )
    rejected = await harness.scanned_link(ann)
    await harness.links.reject(rejected, ann, NOON)

    for step in (
        harness.links.approve(make_approval(waiting, ann)),
        harness.links.reject(waiting, ann, NOON),
        harness.links.scan(make_scan(scanned, ann)),
        harness.links.approve(make_approval(approved, ann)),
        harness.links.approve(make_approval(rejected, ann)),
        harness.links.scan(make_scan(rejected, ann)),
    ):
        with pytest.raises(AlreadyUsed):
            await step


async def test_of_two_approvals_at_once_one_counts(harness: LinkHarness, ann: Caller) -> None:
    link_id = await harness.scanned_link(ann)

    outcomes = await asyncio.gather(
        *(harness.links.approve(make_approval(link_id, ann)) for _ in range(10)), return_exceptions=True
    )

    assert [type(each) for each in outcomes].count(AlreadyUsed) == 9


async def test_only_the_device_that_scanned_approves(harness: LinkHarness, ann: Caller) -> None:
    tablet = await harness.find_caller(await newest(harness, ann))
    assert tablet
    link_id = await harness.scanned_link(tablet)

    with pytest.raises(Forbidden):
        await harness.links.approve(make_approval(link_id, ann))
    await harness.links.approve(make_approval(link_id, tablet))

    assert (await harness.link_status(link_id)).status is LinkStatus.APPROVED


async def newest(harness: LinkHarness, by: Caller) -> UUID:
    await harness.link_device(by)
    return (await harness.stores.devices.list(by.user_id)).devices[-1].device


async def test_what_was_rejected_after_all_is_never_completed(harness: LinkHarness, ann: Caller) -> None:
    link_id, token_hash = await harness.approved_link(ann)

    await harness.links.reject(link_id, ann, NOON)
    await harness.links.reject(link_id, ann, NOON)

    assert (await harness.link_status(link_id)).status is LinkStatus.REJECTED
    for late in (
        harness.links.find_account(token_hash, NOON),
        harness.links.complete(harness.make_completion(token_hash)),
    ):
        with pytest.raises(InvalidToken):
            await late


async def test_what_was_completed_is_not_rejected(harness: LinkHarness, ann: Caller) -> None:
    link_id, token_hash = await harness.approved_link(ann)
    await harness.links.complete(harness.make_completion(token_hash))

    with pytest.raises(AlreadyUsed):
        await harness.links.reject(link_id, ann, NOON)


async def test_a_link_ends_with_its_time_at_every_stage(harness: LinkHarness, ann: Caller) -> None:
    waiting, scanned, (approved, token_hash) = (
        (await harness.request_link()).link_id,
        await harness.scanned_link(ann),
        await harness.approved_link(ann),
    )
    untaken = await harness.scanned_link(ann)
    await harness.links.approve(make_approval(untaken, ann))

    for link_id in (waiting, scanned, approved, untaken):
        assert (await harness.link_status(link_id, EXPIRES)).status is LinkStatus.EXPIRED
    for late in (
        harness.links.scan(make_scan(waiting, ann, EXPIRES)),
        harness.links.approve(make_approval(scanned, ann, EXPIRES)),
        harness.links.reject(approved, ann, EXPIRES),
    ):
        with pytest.raises(NotFound):
            await late
    assert await harness.links.claim_provisioning(untaken, "token", EXPIRES) is None
    for too_late in (
        harness.links.find_account(token_hash, EXPIRES),
        harness.links.complete(harness.make_completion(token_hash, at=EXPIRES)),
    ):
        with pytest.raises(InvalidToken):
            await too_late


async def test_a_link_lives_until_its_time(harness: LinkHarness, ann: Caller) -> None:
    _, token_hash = await harness.approved_link(ann)

    made = await harness.links.complete(harness.make_completion(token_hash, at=EXPIRES - timedelta(milliseconds=1)))

    assert made.device_id == 2


async def test_a_link_ends_with_the_device_that_scanned(harness: LinkHarness, ann: Caller) -> None:
    tablet = await harness.find_caller(await newest(harness, ann))
    assert tablet
    scanned, (approved, token_hash) = await harness.scanned_link(tablet), await harness.approved_link(tablet)

    await harness.end_device(tablet)

    assert [(await harness.link_status(each)).status for each in (scanned, approved)] == [LinkStatus.REJECTED] * 2
    with pytest.raises(InvalidToken):
        await harness.links.complete(harness.make_completion(token_hash))
    assert await harness.device_ids(ann.user_id) == [1]


async def test_a_link_ends_with_the_tokens_of_the_device_that_scanned(harness: LinkHarness) -> None:
    ann = await harness.add_owner()
    link_id = await harness.scanned_link(ann)
    await harness.links.approve(make_approval(link_id, ann))

    await harness.revoke_tokens("refresh 1")

    assert await harness.links.claim_provisioning(link_id, "token", NOON) is None
    assert (await harness.link_status(link_id)).status is LinkStatus.REJECTED


async def test_a_new_sign_up_ends_the_links_of_the_old_devices(harness: LinkHarness, ann: Caller) -> None:
    _, token_hash = await harness.approved_link(ann)

    again = await harness.add_owner("a", has_keys=False)

    with pytest.raises(InvalidToken):
        await harness.links.complete(harness.make_completion(token_hash))
    assert await harness.device_ids(again.user_id) == [1]


async def test_the_limit_of_devices_holds_at_approval_and_at_completion(harness: LinkHarness, ann: Caller) -> None:
    early = await harness.approved_link(ann)
    scanned = await harness.scanned_link(ann)
    await harness.link_device(ann)

    with pytest.raises(DeviceLimit):
        await harness.links.approve(make_approval(scanned, ann, most=2))
    with pytest.raises(DeviceLimit):
        await harness.links.complete(harness.make_completion(early[1], most=2))

    assert await harness.device_ids(ann.user_id) == [1, 2]
    assert (await harness.link_status(scanned)).status is LinkStatus.SCANNED
    assert (await harness.links.complete(harness.make_completion(early[1], most=3))).device_id == 3


async def test_links_completed_at_once_never_make_more_devices_than_allowed(harness: LinkHarness, ann: Caller) -> None:
    tokens = [(await harness.approved_link(ann))[1] for _ in range(8)]

    outcomes = await asyncio.gather(
        *(harness.links.complete(harness.make_completion(each)) for each in tokens), return_exceptions=True
    )

    assert [type(each) for each in outcomes].count(LinkedDevice) == 5
    assert await harness.device_ids(ann.user_id) == [1, 2, 3, 4, 5, 6]


async def test_another_identity_leaves_the_token_good(harness: LinkHarness, ann: Caller) -> None:
    _, token_hash = await harness.approved_link(ann)
    stranger = Identity(Suite.VYRY, b"another", b"dh", b"dh signature")

    with pytest.raises(IdentityMismatch):
        await harness.links.complete(harness.make_completion(token_hash, identity=stranger))

    assert await harness.device_ids(ann.user_id) == [1]
    assert (await harness.links.complete(harness.make_completion(token_hash))).device_id == 2


async def test_a_number_given_again_needs_another_registration_id(harness: LinkHarness, ann: Caller) -> None:
    first = harness.make_completion((await harness.approved_link(ann))[1])
    await harness.links.complete(first)
    again = await harness.add_owner("a", has_keys=False)
    _, token_hash = await harness.approved_link(again)

    with pytest.raises(InvalidKeys):
        await harness.links.complete(replace(harness.make_completion(token_hash), upload=first.upload))

    assert await harness.device_ids(ann.user_id) == [1]
    assert (await harness.links.complete(harness.make_completion(token_hash))).device_id == 2


async def test_numbers_rise_also_over_devices_that_ended(harness: LinkHarness, ann: Caller) -> None:
    tablet = await harness.find_caller(await newest(harness, ann))
    assert tablet
    await harness.end_device(tablet)

    assert (await harness.link_device(ann)).device_id == 3
    assert await harness.device_ids(ann.user_id) == [1, 3]


async def test_an_unknown_token_completes_nothing(harness: LinkHarness) -> None:
    for lost in (
        harness.links.find_account("never given", NOON),
        harness.links.complete(harness.make_completion("never given")),
    ):
        with pytest.raises(InvalidToken):
            await lost


async def test_unknown_links_are_absent(harness: LinkHarness) -> None:
    assert await harness.links.load_states([new_id()], NOON) == {}


@pytest.mark.parametrize(
    ("last", "live", "following"),
    [(0, set(), 1), (1, {1}, 2), (126, {1}, 127), (127, {1, 2}, 3), (5, set(range(1, 127)), 127)],
)
def test_numbers_go_round_and_skip_live_ones(last: int, live: set[int], following: int) -> None:
    assert next_device_id(last, live) == following
