"""Contract of WakeupStore: a deposit plans a wake-up exactly if the device is offline, and it is sent until its result is recorded."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.mail_store_harness import MailStoreHarness, make_message
from tests.support.wake_harness import ALL_KINDS, MINUTE, WakeHarness, open_wake_harness
from vyry.devices.push import PushKind, PushTarget
from vyry.mail.store import MailboxCaps


@pytest.fixture
def caps() -> MailboxCaps:
    return MailboxCaps(mail_entries=50)


@pytest.fixture
async def waking(mail_harness: MailStoreHarness) -> AsyncIterator[WakeHarness]:
    async with open_wake_harness(mail_harness) as opened:
        yield opened


async def test_the_first_mail_in_an_empty_mailbox_wakes_its_device(waking: WakeHarness) -> None:
    ann, bo = await waking.add_mailbox(), await waking.add_mailbox()

    await waking.deposit(ann)
    at_once = await waking.claim_mailboxes()
    await waking.pass_time(seconds=4)

    assert (at_once, await waking.claim_mailboxes()) == ([], [ann])
    await waking.deposit(bo)
    await waking.pass_time(seconds=4)
    assert await waking.claim_mailboxes() == [bo]


async def test_a_device_without_a_target_is_not_woken(waking: WakeHarness) -> None:
    await waking.deposit(await waking.add_mailbox(None))
    await waking.pass_time(minutes=5)

    assert await waking.claim_wakes() == []


async def test_a_device_that_takes_its_mail_in_time_is_not_woken(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.acknowledge(ann)
    await waking.pass_time(minutes=5)

    assert await waking.claim_wakes() == []
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    assert await waking.claim_mailboxes() == [ann]


async def test_a_device_that_is_just_taking_its_mail_is_looked_at_again(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.deposit(ann)
    await waking.acknowledge(ann, 1)

    await waking.pass_time(seconds=4)
    while_awake = await waking.claim_wakes()
    await waking.pass_time(seconds=4)

    assert (while_awake, await waking.claim_mailboxes()) == ([], [ann])


async def test_more_mail_wakes_again_only_after_a_rest(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    first = await waking.mark_woken(ann)

    await waking.pass_time(seconds=30)
    await waking.deposit(ann)
    await waking.pass_time(seconds=20)
    too_early = await waking.claim_wakes()
    await waking.pass_time(seconds=20)
    second = await waking.mark_woken(ann)

    assert (first.times_woken, too_early, second.times_woken) == (0, [], 1)


async def test_without_more_mail_a_sleeping_device_is_woken_once(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.mark_woken(ann)

    await waking.pass_time(days=1)

    assert await waking.claim_wakes() == []


async def test_a_device_that_came_back_is_woken_afresh(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.mark_woken(ann, timedelta(hours=6))
    await waking.acknowledge(ann)

    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert (await waking.mark_woken(ann)).times_woken == 0


@pytest.mark.parametrize("is_urgent", [True, False])
async def test_a_device_that_came_back_during_a_long_rest_is_woken_as_if_it_had_never_slept(
    waking: WakeHarness, is_urgent: bool
) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.mark_woken(ann, timedelta(hours=6))
    await waking.deposit(ann)
    await waking.acknowledge(ann)

    await waking.deposit(ann, is_urgent=is_urgent)
    await waking.pass_time(seconds=4 if is_urgent else 61)

    wake = await waking.mark_woken(ann)
    assert (wake.times_woken, wake.is_urgent) == (0, is_urgent)


async def test_mail_for_a_device_that_is_awake_puts_no_wake_up_off(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=2)
    await waking.acknowledge(ann)
    await waking.deposit(ann, is_urgent=False)
    await waking.pass_time(seconds=2)
    looked_at = await waking.claim_wakes()

    await waking.pass_time(seconds=4)

    assert (looked_at, await waking.claim_mailboxes()) == ([], [ann])


async def test_a_try_that_was_none_is_not_counted(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    for _ in range(3):
        (wake,) = await waking.claim_wakes()
        await waking.store.release(wake, MINUTE)
        await waking.pass_time(seconds=61)

    assert (await waking.mark_woken(ann)).attempts == 1


async def test_mail_that_comes_while_it_is_sent_wakes_after_the_rest(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.claim_wakes()
    await waking.deposit(ann)
    await waking.store.record_sent(wake, MINUTE)

    await waking.pass_time(seconds=50)
    resting = await waking.claim_wakes()
    await waking.pass_time(seconds=20)

    assert (resting, await waking.claim_mailboxes()) == ([], [ann])


async def test_mail_for_a_device_that_came_back_while_it_was_sent_wakes_soon(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.claim_wakes()
    await waking.acknowledge(ann)
    await waking.deposit(ann)
    await waking.store.record_sent(wake, timedelta(hours=6))

    await waking.pass_time(seconds=4)

    assert await waking.claim_mailboxes() == [ann]


async def test_quiet_mail_waits_for_company_and_wakes_once(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann, is_urgent=False)
    await waking.pass_time(seconds=50)
    too_early = await waking.claim_wakes()
    await waking.pass_time(seconds=20)
    quiet = await waking.mark_woken(ann)

    await waking.deposit(ann, is_urgent=False)
    await waking.pass_time(days=1)

    assert (too_early, quiet.is_urgent, await waking.claim_wakes()) == ([], False, [])


@pytest.mark.parametrize("is_sent", [False, True])
async def test_quiet_mail_holds_up_no_urgent_mail(waking: WakeHarness, is_sent: bool) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann, is_urgent=False)
    if is_sent:
        await waking.pass_time(seconds=61)
        await waking.mark_woken(ann)

    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert (await waking.mark_woken(ann)).is_urgent


async def test_quiet_mail_between_urgent_mail_shortens_no_rest(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.mark_woken(ann, timedelta(hours=6))

    await waking.deposit(ann, is_urgent=False)
    await waking.deposit(ann)
    await waking.pass_time(hours=5)

    assert await waking.claim_wakes() == []


async def test_losses_wake_nobody(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.mail.post(make_message(ann, lifetime=timedelta(seconds=1)))
    waking.mail.clock.advance(seconds=2)
    await waking.mail.store.deposit([ann])
    await waking.pass_time(minutes=5)

    assert await waking.claim_wakes() == []


async def test_one_post_to_many_plans_each_once(waking: WakeHarness) -> None:
    boxes = [await waking.add_mailbox() for _ in range(5)]
    await waking.deposit(*boxes)
    await waking.deposit(*boxes)
    await waking.pass_time(seconds=4)

    assert await waking.claim_mailboxes() == boxes
    assert await waking.claim_mailboxes() == []


async def test_workers_share_what_is_due(waking: WakeHarness) -> None:
    boxes = [await waking.add_mailbox() for _ in range(20)]
    await waking.deposit(*boxes)
    await waking.pass_time(seconds=4)

    taken = await asyncio.gather(*(waking.claim_wakes(limit=6) for _ in range(8)))

    tokens = [wake.target.token for some in taken for wake in some]
    while more := await waking.claim_wakes(limit=6):
        tokens += [wake.target.token for wake in more]
    assert sorted(map(str, tokens)) == sorted(str(target.token) for target in waking.targets.values())


async def test_what_a_dead_worker_had_taken_up_is_taken_up_again(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (lost,) = await waking.claim_wakes()
    await waking.pass_time(seconds=20)
    while_leased = await waking.claim_wakes()

    await waking.pass_time(seconds=11)
    (again,) = await waking.claim_wakes()
    await waking.store.record_sent(lost, MINUTE)
    await waking.pass_time(seconds=31)

    assert (while_leased, again.attempts) == ([], 2)
    assert await waking.claim_mailboxes() == [ann]


async def test_a_lane_takes_up_its_own_kinds_alone(waking: WakeHarness) -> None:
    fcm, web = await waking.add_mailbox(PushKind.FCM), await waking.add_mailbox(PushKind.UNIFIEDPUSH)
    await waking.deposit(fcm, web)
    await waking.pass_time(seconds=4)

    first = await waking.claim_wakes([PushKind.WEBPUSH, PushKind.UNIFIEDPUSH])
    second = await waking.claim_wakes([PushKind.FCM])

    assert [wake.target for wake in first + second] == [waking.targets[web], waking.targets[fcm]]


async def test_a_wake_up_is_put_off_and_given_up(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (first,) = await waking.claim_wakes()
    await waking.store.reschedule(first, MINUTE)
    await waking.pass_time(seconds=61)
    (second,) = await waking.claim_wakes()
    await waking.store.reschedule(second, None)

    await waking.pass_time(hours=12)
    given_up = await waking.claim_wakes()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert (first.attempts, second.attempts, given_up) == (1, 2, [])
    assert (await waking.mark_woken(ann)).attempts == 1


async def test_a_target_that_is_gone_is_forgotten(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.claim_wakes()

    await waking.store.delete_target(wake)
    await waking.acknowledge(ann)
    await waking.deposit(ann)
    await waking.pass_time(days=1)

    assert await waking.claim_wakes(ALL_KINDS) == []


async def test_a_target_named_meanwhile_stays(waking: WakeHarness) -> None:
    ann = await waking.add_mailbox()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.claim_wakes()
    await waking.register(ann, PushTarget(PushKind.FCM, token="another"))

    await waking.store.delete_target(wake)
    await waking.store.record_sent(wake, MINUTE)
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert [each.target.token for each in await waking.claim_wakes()] == ["another"]


async def test_a_ring_wakes_at_once_with_an_empty_mailbox_and_once(waking: WakeHarness) -> None:
    ann, deaf = await waking.add_mailbox(), await waking.add_mailbox(None)

    await waking.store.plan_urgent([ann, deaf])
    await waking.store.plan_urgent([ann])
    wake = await waking.mark_woken(ann)
    await waking.store.plan_urgent([ann])
    just_after = await waking.claim_wakes()
    await waking.pass_time(seconds=11)
    await waking.store.plan_urgent([ann])

    assert (wake.is_urgent, just_after, await waking.claim_mailboxes()) == (True, [], [ann])
