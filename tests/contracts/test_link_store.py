"""What every store of links promises: see LinkStore. Each theft of a link is tried at each of its stages."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from tests.account_room import NOON
from tests.link_room import EXPIRES, LinkRoom, approval, open_link_room, scan
from vyry.accounts.account import Caller, Platform
from vyry.devices.keyset import Identity, Suite
from vyry.devices.links import Linked, LinkStatus, ScannedLink, next_number
from vyry.errors import (
    AlreadyUsed,
    DeviceLimit,
    Forbidden,
    IdentityMismatch,
    InvalidKeys,
    InvalidToken,
    NotFound,
)
from vyry.ids import MailboxKey, new_id


@pytest.fixture
async def room(mail_url: str | None) -> AsyncIterator[LinkRoom]:
    async with open_link_room(mail_url) as room:
        yield room


@pytest.fixture
async def ann(room: LinkRoom) -> Caller:
    return await room.owner("a")


@pytest.fixture
async def eve(room: LinkRoom) -> Caller:
    return await room.owner("e")


async def test_a_new_device_is_linked_step_by_step(room: LinkRoom, ann: Caller) -> None:
    link = await room.ask()
    steps = [(await room.state(link.link_id)).status]

    shown = await room.links.scan(scan(link.link_id, ann))
    steps.append((await room.state(link.link_id)).status)
    await room.links.approve(approval(link.link_id, ann))
    steps.append((await room.state(link.link_id)).status)
    provisioning = await room.links.take(link.link_id, "token", NOON)
    made = await room.links.complete(room.completion("token"))

    assert shown == ScannedLink(link.public_key, "tablet", Platform.WEB, "192.0.2.0/24", EXPIRES)
    assert steps == [LinkStatus.WAITING, LinkStatus.SCANNED, LinkStatus.APPROVED]
    assert (provisioning, (await room.state(link.link_id)).approver_public_key) == (b"sealed", b"e" * 32)
    assert made == Linked(ann.user_id, next_number(1, {1}), has_display_name=False)


async def test_the_new_device_is_linked_and_has_its_keys(room: LinkRoom, ann: Caller) -> None:
    before = await room.stores.devices.list(ann.user_id)

    await room.linked(ann)

    after = await room.stores.devices.list(ann.user_id)
    bundles = (await room.prekeys.claim(ann.user_id, None, MailboxKey(0))).bundles
    assert [(each.device_id, each.is_primary, each.name) for each in after.devices][1:] == [(2, False, "tablet")]
    assert [bundle.device.device_id for bundle in bundles] == [1, 2]
    assert after.epoch > before.epoch or room.people is not None


async def test_of_fifty_completions_at_once_one_makes_a_device(room: LinkRoom, ann: Caller) -> None:
    _, token_hash = await room.approved(ann)

    tries = (room.links.complete(room.completion(token_hash)) for _ in range(50))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    assert [type(each) for each in outcomes].count(Linked) == 1
    assert [type(each) for each in outcomes].count(AlreadyUsed) == 49
    assert await room.numbered(ann.user_id) == [1, 2]


async def test_a_token_completes_once(room: LinkRoom, ann: Caller) -> None:
    _, token_hash = await room.approved(ann)
    await room.links.complete(room.completion(token_hash))

    for replay in (room.links.complete(room.completion(token_hash)), room.links.find(token_hash, NOON)):
        with pytest.raises(AlreadyUsed):
            await replay


async def test_what_is_given_once_is_given_to_one(room: LinkRoom, ann: Caller) -> None:
    link_id = await room.scanned(ann)
    await room.links.approve(approval(link_id, ann))

    given = await asyncio.gather(*(room.links.take(link_id, f"token {n}", NOON) for n in range(20)))

    assert sorted(given, key=bool) == [None] * 19 + [b"sealed"]
    assert (await room.state(link_id)).is_given
    good = given.index(b"sealed")
    for other in {0, 19} - {good}:
        with pytest.raises(InvalidToken):
            await room.links.complete(room.completion(f"token {other}"))
    await room.links.complete(room.completion(f"token {good}"))


async def test_nothing_is_taken_before_it_is_approved(room: LinkRoom, ann: Caller) -> None:
    waiting, scanned = (await room.ask()).link_id, await room.scanned(ann)

    assert [await room.links.take(each, "token", NOON) for each in (waiting, scanned)] == [None, None]


async def test_of_two_accounts_that_scan_at_once_one_owns_the_link(room: LinkRoom, ann: Caller, eve: Caller) -> None:
    link_id = (await room.ask()).link_id

    tries = [room.links.scan(scan(link_id, who)) for who in (ann, eve) * 10]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    winner, loser = (ann, eve) if any(isinstance(each, ScannedLink) for each in outcomes[0::2]) else (eve, ann)
    assert (await room.state(link_id)).user_id == winner.user_id
    assert [type(each) for each in outcomes].count(ScannedLink) == 1
    assert [type(each) for each in outcomes].count(NotFound) == 10
    assert [type(each) for each in outcomes].count(AlreadyUsed) == 9
    with pytest.raises(NotFound):
        await room.links.approve(approval(link_id, loser))


async def test_a_link_of_another_account_is_none(room: LinkRoom, ann: Caller, eve: Caller) -> None:
    scanned, (approved, _) = await room.scanned(ann), await room.approved(ann)

    for link_id in (scanned, approved, new_id()):
        for step in (
            room.links.scan(scan(link_id, eve)),
            room.links.approve(approval(link_id, eve)),
            room.links.reject(link_id, eve, NOON),
        ):
            with pytest.raises(NotFound):
                await step
    assert (await room.state(scanned)).status is LinkStatus.SCANNED
    assert (await room.state(approved)).status is LinkStatus.APPROVED


async def test_steps_are_taken_in_their_order_and_once(room: LinkRoom, ann: Caller) -> None:
    waiting, scanned, (approved, _) = (await room.ask()).link_id, await room.scanned(ann), await room.approved(ann)
    rejected = await room.scanned(ann)
    await room.links.reject(rejected, ann, NOON)

    for step in (
        room.links.approve(approval(waiting, ann)),
        room.links.reject(waiting, ann, NOON),
        room.links.scan(scan(scanned, ann)),
        room.links.approve(approval(approved, ann)),
        room.links.approve(approval(rejected, ann)),
        room.links.scan(scan(rejected, ann)),
    ):
        with pytest.raises(AlreadyUsed):
            await step


async def test_of_two_approvals_at_once_one_counts(room: LinkRoom, ann: Caller) -> None:
    link_id = await room.scanned(ann)

    outcomes = await asyncio.gather(
        *(room.links.approve(approval(link_id, ann)) for _ in range(10)), return_exceptions=True
    )

    assert [type(each) for each in outcomes].count(AlreadyUsed) == 9


async def test_only_the_device_that_scanned_approves(room: LinkRoom, ann: Caller) -> None:
    tablet = await room.caller(await newest(room, ann))
    assert tablet
    link_id = await room.scanned(tablet)

    with pytest.raises(Forbidden):
        await room.links.approve(approval(link_id, ann))
    await room.links.approve(approval(link_id, tablet))

    assert (await room.state(link_id)).status is LinkStatus.APPROVED


async def newest(room: LinkRoom, by: Caller) -> UUID:
    await room.linked(by)
    return (await room.stores.devices.list(by.user_id)).devices[-1].device


async def test_what_was_rejected_after_all_is_never_completed(room: LinkRoom, ann: Caller) -> None:
    link_id, token_hash = await room.approved(ann)

    await room.links.reject(link_id, ann, NOON)
    await room.links.reject(link_id, ann, NOON)

    assert (await room.state(link_id)).status is LinkStatus.REJECTED
    for late in (room.links.find(token_hash, NOON), room.links.complete(room.completion(token_hash))):
        with pytest.raises(InvalidToken):
            await late


async def test_what_was_completed_is_not_rejected(room: LinkRoom, ann: Caller) -> None:
    link_id, token_hash = await room.approved(ann)
    await room.links.complete(room.completion(token_hash))

    with pytest.raises(AlreadyUsed):
        await room.links.reject(link_id, ann, NOON)


async def test_a_link_ends_with_its_time_at_every_stage(room: LinkRoom, ann: Caller) -> None:
    waiting, scanned, (approved, token_hash) = (
        (await room.ask()).link_id,
        await room.scanned(ann),
        await room.approved(ann),
    )
    untaken = await room.scanned(ann)
    await room.links.approve(approval(untaken, ann))

    for link_id in (waiting, scanned, approved, untaken):
        assert (await room.state(link_id, EXPIRES)).status is LinkStatus.EXPIRED
    for late in (
        room.links.scan(scan(waiting, ann, EXPIRES)),
        room.links.approve(approval(scanned, ann, EXPIRES)),
        room.links.reject(approved, ann, EXPIRES),
    ):
        with pytest.raises(NotFound):
            await late
    assert await room.links.take(untaken, "token", EXPIRES) is None
    for too_late in (
        room.links.find(token_hash, EXPIRES),
        room.links.complete(room.completion(token_hash, at=EXPIRES)),
    ):
        with pytest.raises(InvalidToken):
            await too_late


async def test_a_link_lives_until_its_time(room: LinkRoom, ann: Caller) -> None:
    _, token_hash = await room.approved(ann)

    made = await room.links.complete(room.completion(token_hash, at=EXPIRES - timedelta(milliseconds=1)))

    assert made.device_id == 2


async def test_a_link_ends_with_the_device_that_scanned(room: LinkRoom, ann: Caller) -> None:
    tablet = await room.caller(await newest(room, ann))
    assert tablet
    scanned, (approved, token_hash) = await room.scanned(tablet), await room.approved(tablet)

    await room.end(tablet)

    assert [(await room.state(each)).status for each in (scanned, approved)] == [LinkStatus.REJECTED] * 2
    with pytest.raises(InvalidToken):
        await room.links.complete(room.completion(token_hash))
    assert await room.numbered(ann.user_id) == [1]


async def test_a_link_ends_with_the_tokens_of_the_device_that_scanned(room: LinkRoom) -> None:
    ann = await room.owner()
    link_id = await room.scanned(ann)
    await room.links.approve(approval(link_id, ann))

    await room.lose_tokens("refresh 1")

    assert await room.links.take(link_id, "token", NOON) is None
    assert (await room.state(link_id)).status is LinkStatus.REJECTED


async def test_a_new_sign_up_ends_the_links_of_the_old_devices(room: LinkRoom, ann: Caller) -> None:
    _, token_hash = await room.approved(ann)

    again = await room.owner("a", has_keys=False)

    with pytest.raises(InvalidToken):
        await room.links.complete(room.completion(token_hash))
    assert await room.numbered(again.user_id) == [1]


async def test_the_limit_of_devices_holds_at_approval_and_at_completion(room: LinkRoom, ann: Caller) -> None:
    early = await room.approved(ann)
    scanned = await room.scanned(ann)
    await room.linked(ann)

    with pytest.raises(DeviceLimit):
        await room.links.approve(approval(scanned, ann, most=2))
    with pytest.raises(DeviceLimit):
        await room.links.complete(room.completion(early[1], most=2))

    assert await room.numbered(ann.user_id) == [1, 2]
    assert (await room.state(scanned)).status is LinkStatus.SCANNED
    assert (await room.links.complete(room.completion(early[1], most=3))).device_id == 3


async def test_links_completed_at_once_never_make_more_devices_than_allowed(room: LinkRoom, ann: Caller) -> None:
    tokens = [(await room.approved(ann))[1] for _ in range(8)]

    outcomes = await asyncio.gather(
        *(room.links.complete(room.completion(each)) for each in tokens), return_exceptions=True
    )

    assert [type(each) for each in outcomes].count(Linked) == 5
    assert await room.numbered(ann.user_id) == [1, 2, 3, 4, 5, 6]


async def test_another_identity_leaves_the_token_good(room: LinkRoom, ann: Caller) -> None:
    _, token_hash = await room.approved(ann)
    stranger = Identity(Suite.VYRY, b"another", b"dh", b"dh signature")

    with pytest.raises(IdentityMismatch):
        await room.links.complete(room.completion(token_hash, identity=stranger))

    assert await room.numbered(ann.user_id) == [1]
    assert (await room.links.complete(room.completion(token_hash))).device_id == 2


async def test_a_number_given_again_needs_another_registration_id(room: LinkRoom, ann: Caller) -> None:
    first = room.completion((await room.approved(ann))[1])
    await room.links.complete(first)
    again = await room.owner("a", has_keys=False)
    _, token_hash = await room.approved(again)

    with pytest.raises(InvalidKeys):
        await room.links.complete(replace(room.completion(token_hash), upload=first.upload))

    assert await room.numbered(ann.user_id) == [1]
    assert (await room.links.complete(room.completion(token_hash))).device_id == 2


async def test_numbers_rise_also_over_devices_that_ended(room: LinkRoom, ann: Caller) -> None:
    tablet = await room.caller(await newest(room, ann))
    assert tablet
    await room.end(tablet)

    assert (await room.linked(ann)).device_id == 3
    assert await room.numbered(ann.user_id) == [1, 3]


async def test_an_unknown_token_completes_nothing(room: LinkRoom) -> None:
    for lost in (room.links.find("never given", NOON), room.links.complete(room.completion("never given"))):
        with pytest.raises(InvalidToken):
            await lost


async def test_unknown_links_are_absent(room: LinkRoom) -> None:
    assert await room.links.look([new_id()], NOON) == {}


@pytest.mark.parametrize(
    ("last", "live", "following"),
    [(0, set(), 1), (1, {1}, 2), (126, {1}, 127), (127, {1, 2}, 3), (5, set(range(1, 127)), 127)],
)
def test_numbers_go_round_and_skip_live_ones(last: int, live: set[int], following: int) -> None:
    assert next_number(last, live) == following
