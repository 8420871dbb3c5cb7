"""What every wake store promises: a deposit plans a wake-up exactly when a device sleeps, and a planned one is sent until somebody says it was."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.contracts.mail_room import MailRoom, letter
from tests.contracts.waking_room import ALL, MINUTE, WakingRoom, open_waking
from vyry.devices.push import PushKind, PushTarget
from vyry.mail.store import Caps


@pytest.fixture
def caps() -> Caps:
    return Caps(mail_entries=50)


@pytest.fixture
async def waking(room: MailRoom) -> AsyncIterator[WakingRoom]:
    async with open_waking(room) as opened:
        yield opened


async def test_the_first_mail_in_an_empty_mailbox_wakes_its_device(waking: WakingRoom) -> None:
    ann, bo = await waking.box(), await waking.box()

    await waking.deposit(ann)
    at_once = await waking.due_boxes()
    await waking.pass_time(seconds=4)

    assert (at_once, await waking.due_boxes()) == ([], [ann])
    await waking.deposit(bo)
    await waking.pass_time(seconds=4)
    assert await waking.due_boxes() == [bo]


async def test_a_device_without_a_target_is_not_woken(waking: WakingRoom) -> None:
    await waking.deposit(await waking.box(None))
    await waking.pass_time(minutes=5)

    assert await waking.due() == []


async def test_a_device_that_takes_its_mail_in_time_is_not_woken(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.acknowledge(ann)
    await waking.pass_time(minutes=5)

    assert await waking.due() == []
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    assert await waking.due_boxes() == [ann]


async def test_a_device_that_is_just_taking_its_mail_is_looked_at_again(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.deposit(ann)
    await waking.acknowledge(ann, 1)

    await waking.pass_time(seconds=4)
    while_awake = await waking.due()
    await waking.pass_time(seconds=4)

    assert (while_awake, await waking.due_boxes()) == ([], [ann])


async def test_more_mail_wakes_again_only_after_a_rest(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    first = await waking.woken(ann)

    await waking.pass_time(seconds=30)
    await waking.deposit(ann)
    await waking.pass_time(seconds=20)
    too_early = await waking.due()
    await waking.pass_time(seconds=20)
    second = await waking.woken(ann)

    assert (first.wakes, too_early, second.wakes) == (0, [], 1)


async def test_without_more_mail_a_sleeping_device_is_woken_once(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.woken(ann)

    await waking.pass_time(days=1)

    assert await waking.due() == []


async def test_a_device_that_came_back_is_woken_afresh(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.woken(ann, timedelta(hours=6))
    await waking.acknowledge(ann)

    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert (await waking.woken(ann)).wakes == 0


@pytest.mark.parametrize("is_urgent", [True, False])
async def test_a_device_that_came_back_during_a_long_rest_is_woken_as_if_it_had_never_slept(
    waking: WakingRoom, is_urgent: bool
) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.woken(ann, timedelta(hours=6))
    await waking.deposit(ann)
    await waking.acknowledge(ann)

    await waking.deposit(ann, is_urgent=is_urgent)
    await waking.pass_time(seconds=4 if is_urgent else 61)

    wake = await waking.woken(ann)
    assert (wake.wakes, wake.is_urgent) == (0, is_urgent)


async def test_mail_for_a_device_that_is_awake_puts_no_wake_up_off(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=2)
    await waking.acknowledge(ann)
    await waking.deposit(ann, is_urgent=False)
    await waking.pass_time(seconds=2)
    looked_at = await waking.due()

    await waking.pass_time(seconds=4)

    assert (looked_at, await waking.due_boxes()) == ([], [ann])


async def test_a_try_that_was_none_is_not_counted(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    for _ in range(3):
        (wake,) = await waking.due()
        await waking.store.put_back(wake, MINUTE)
        await waking.pass_time(seconds=61)

    assert (await waking.woken(ann)).attempts == 1


async def test_mail_that_comes_while_it_is_sent_wakes_after_the_rest(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.due()
    await waking.deposit(ann)
    await waking.store.sent(wake, MINUTE)

    await waking.pass_time(seconds=50)
    resting = await waking.due()
    await waking.pass_time(seconds=20)

    assert (resting, await waking.due_boxes()) == ([], [ann])


async def test_mail_for_a_device_that_came_back_while_it_was_sent_wakes_soon(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.due()
    await waking.acknowledge(ann)
    await waking.deposit(ann)
    await waking.store.sent(wake, timedelta(hours=6))

    await waking.pass_time(seconds=4)

    assert await waking.due_boxes() == [ann]


async def test_quiet_mail_waits_for_company_and_wakes_once(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann, is_urgent=False)
    await waking.pass_time(seconds=50)
    too_early = await waking.due()
    await waking.pass_time(seconds=20)
    quiet = await waking.woken(ann)

    await waking.deposit(ann, is_urgent=False)
    await waking.pass_time(days=1)

    assert (too_early, quiet.is_urgent, await waking.due()) == ([], False, [])


@pytest.mark.parametrize("is_sent", [False, True])
async def test_quiet_mail_holds_up_no_urgent_mail(waking: WakingRoom, is_sent: bool) -> None:
    ann = await waking.box()
    await waking.deposit(ann, is_urgent=False)
    if is_sent:
        await waking.pass_time(seconds=61)
        await waking.woken(ann)

    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert (await waking.woken(ann)).is_urgent


async def test_quiet_mail_between_urgent_mail_shortens_no_rest(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    await waking.woken(ann, timedelta(hours=6))

    await waking.deposit(ann, is_urgent=False)
    await waking.deposit(ann)
    await waking.pass_time(hours=5)

    assert await waking.due() == []


async def test_losses_wake_nobody(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.mail.post(letter(ann, lifetime=timedelta(seconds=1)))
    waking.mail.clock.advance(seconds=2)
    await waking.mail.store.deposit([ann])
    await waking.pass_time(minutes=5)

    assert await waking.due() == []


async def test_one_post_to_many_plans_each_once(waking: WakingRoom) -> None:
    boxes = [await waking.box() for _ in range(5)]
    await waking.deposit(*boxes)
    await waking.deposit(*boxes)
    await waking.pass_time(seconds=4)

    assert await waking.due_boxes() == boxes
    assert await waking.due_boxes() == []


async def test_workers_share_what_is_due(waking: WakingRoom) -> None:
    boxes = [await waking.box() for _ in range(20)]
    await waking.deposit(*boxes)
    await waking.pass_time(seconds=4)

    taken = await asyncio.gather(*(waking.due(limit=6) for _ in range(8)))

    tokens = [wake.target.token for some in taken for wake in some]
    while more := await waking.due(limit=6):
        tokens += [wake.target.token for wake in more]
    assert sorted(map(str, tokens)) == sorted(str(target.token) for target in waking.targets.values())


async def test_what_a_dead_worker_had_taken_up_is_taken_up_again(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (lost,) = await waking.due()
    await waking.pass_time(seconds=20)
    while_leased = await waking.due()

    await waking.pass_time(seconds=11)
    (again,) = await waking.due()
    await waking.store.sent(lost, MINUTE)
    await waking.pass_time(seconds=31)

    assert (while_leased, again.attempts) == ([], 2)
    assert await waking.due_boxes() == [ann]


async def test_a_lane_takes_up_its_own_kinds_alone(waking: WakingRoom) -> None:
    fcm, web = await waking.box(PushKind.FCM), await waking.box(PushKind.UNIFIEDPUSH)
    await waking.deposit(fcm, web)
    await waking.pass_time(seconds=4)

    first = await waking.due([PushKind.WEBPUSH, PushKind.UNIFIEDPUSH])
    second = await waking.due([PushKind.FCM])

    assert [wake.target for wake in first + second] == [waking.targets[web], waking.targets[fcm]]


async def test_a_wake_up_is_put_off_and_given_up(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (first,) = await waking.due()
    await waking.store.later(first, MINUTE)
    await waking.pass_time(seconds=61)
    (second,) = await waking.due()
    await waking.store.later(second, None)

    await waking.pass_time(hours=12)
    given_up = await waking.due()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert (first.attempts, second.attempts, given_up) == (1, 2, [])
    assert (await waking.woken(ann)).attempts == 1


async def test_a_target_that_is_gone_is_forgotten(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.due()

    await waking.store.drop(wake)
    await waking.acknowledge(ann)
    await waking.deposit(ann)
    await waking.pass_time(days=1)

    assert await waking.due(ALL) == []


async def test_a_target_named_meanwhile_stays(waking: WakingRoom) -> None:
    ann = await waking.box()
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)
    (wake,) = await waking.due()
    await waking.register(ann, PushTarget(PushKind.FCM, token="another"))

    await waking.store.drop(wake)
    await waking.store.sent(wake, MINUTE)
    await waking.deposit(ann)
    await waking.pass_time(seconds=4)

    assert [each.target.token for each in await waking.due()] == ["another"]


async def test_a_ring_wakes_at_once_with_an_empty_mailbox_and_once(waking: WakingRoom) -> None:
    ann, deaf = await waking.box(), await waking.box(None)

    await waking.store.ring([ann, deaf])
    await waking.store.ring([ann])
    wake = await waking.woken(ann)
    await waking.store.ring([ann])
    just_after = await waking.due()
    await waking.pass_time(seconds=11)
    await waking.store.ring([ann])

    assert (wake.is_urgent, just_after, await waking.due_boxes()) == (True, [], [ann])
