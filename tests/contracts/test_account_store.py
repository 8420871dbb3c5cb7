"""Contract of account and device stores: AccountStore, DeviceStore."""

import asyncio
from datetime import timedelta

import pytest

from tests.support.account_harness import AccountStores, new_device, stored_number
from tests.support.fake_clock import NOON
from vyry.accounts.account import AccountChange, DeviceListing
from vyry.accounts.usernames import UsernameRules
from vyry.errors import NotFound, UsernameTaken
from vyry.kernel.ids import DeviceId, UserId, new_id


LATER = NOON + timedelta(days=1)


async def test_a_new_number_makes_an_account_with_one_primary_device(stores: AccountStores) -> None:
    made = await stores.sign_up()

    listing = await stores.devices.list(made.user_id)
    assert (made.is_new_user, made.has_display_name, made.device_id, made.ended_devices) == (True, False, 1, ())
    assert [(device.device_id, device.is_primary) for device in listing.devices] == [(1, True)]
    assert (await stores.accounts.load(made.user_id)).created_at == NOON


async def test_signing_up_again_makes_a_new_primary_and_ends_all_others(stores: AccountStores) -> None:
    first = await stores.sign_up(refresh="r1")
    old = stores.last_device

    second = await stores.sign_up(refresh="r2", at=LATER)

    listing = await stores.devices.list(first.user_id)
    assert (second.user_id, second.is_new_user, second.device_id) == (first.user_id, False, 1)
    assert [ended.device for ended in second.ended_devices] == [old]
    assert [device.device for device in listing.devices] == [stores.last_device]
    assert listing.epoch > 1


async def test_the_same_number_at_the_same_time_makes_one_account_with_one_device(stores: AccountStores) -> None:
    made = await asyncio.gather(
        *(stores.accounts.sign_up(stored_number(), new_device(f"r{number}"), NOON) for number in range(10))
    )

    listing = await stores.devices.list(made[0].user_id)
    assert len({each.user_id for each in made}) == 1
    assert [each.is_new_user for each in made].count(True) == 1
    assert len(listing.devices) == 1
    assert sum(len(each.ended_devices) for each in made) == 9


async def test_two_numbers_are_two_accounts(stores: AccountStores) -> None:
    one = await stores.sign_up("a" * 64, refresh="r1")
    other = await stores.sign_up("b" * 64, refresh="r2")

    assert one.user_id != other.user_id
    assert len((await stores.devices.list(one.user_id)).devices) == 1


async def test_an_unknown_account_is_not_found(stores: AccountStores) -> None:
    nobody = UserId(new_id())

    for question in (stores.accounts.load(nobody), stores.devices.list(nobody)):
        with pytest.raises(NotFound):
            await question
    with pytest.raises(NotFound):
        await stores.accounts.change(nobody, AccountChange({"bio": "x"}), UsernameRules(NOON))


async def test_a_change_keeps_what_it_does_not_name_and_none_clears(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    await stores.accounts.change(
        user, AccountChange({"display_name": "Ann", "sealed_profile": b"\x00\xff"}), UsernameRules(NOON)
    )

    changed = await stores.accounts.change(
        user, AccountChange({"display_name": None, "bio": "here"}), UsernameRules(NOON)
    )

    assert changed == await stores.accounts.load(user)
    assert (changed.display_name, changed.bio, changed.sealed_profile) == (None, "here", b"\x00\xff")


async def test_settings_merge_by_name_also_at_the_same_time(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    names = [f"s{number}" for number in range(8)]

    await asyncio.gather(
        *(stores.accounts.change(user, AccountChange({}, {name: True}), UsernameRules(NOON)) for name in names)
    )
    changed = await stores.accounts.change(user, AccountChange({}, {"s0": None, "s1": "friends"}), UsernameRules(NOON))

    assert changed.settings == {"s1": "friends", **dict.fromkeys(names[2:], True)}
    assert (await stores.accounts.change(user, AccountChange({}, None), UsernameRules(NOON))).settings == {}


async def test_a_username_belongs_to_one_account(stores: AccountStores) -> None:
    ann = (await stores.sign_up("a" * 64, refresh="r1")).user_id
    bo = (await stores.sign_up("b" * 64, refresh="r2")).user_id
    await stores.accounts.change(ann, AccountChange({"username": "ann"}), UsernameRules(NOON))

    with pytest.raises(UsernameTaken):
        await stores.accounts.change(bo, AccountChange({"username": "ann", "bio": "not kept"}), UsernameRules(NOON))

    assert (await stores.accounts.load(bo)).bio is None
    assert (
        await stores.accounts.change(ann, AccountChange({"username": "ann"}), UsernameRules(NOON))
    ).username == "ann"


async def test_a_device_is_renamed(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    await stores.devices.rename(user, DeviceId(1), "tablet")

    assert [device.name for device in (await stores.devices.list(user)).devices] == ["tablet"]
    with pytest.raises(NotFound):
        await stores.devices.rename(user, DeviceId(2), "nothing")


async def test_an_ended_device_is_gone_and_the_epoch_has_risen(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    before = await stores.devices.list(user)

    ended = await stores.devices.end(user, stores.last_device, LATER)

    assert ended.device == stores.last_device
    assert await stores.devices.list(user) == DeviceListing((), before.epoch + 1)
    assert await stores.sessions.load_statuses([stores.last_device]) == {}


async def test_a_device_ends_once_and_only_by_its_own_account(stores: AccountStores) -> None:
    stranger = (await stores.sign_up("b" * 64, refresh="r1")).user_id
    user = (await stores.sign_up("a" * 64, refresh="r2")).user_id

    with pytest.raises(NotFound):
        await stores.devices.end(stranger, stores.last_device, LATER)
    ends = (stores.devices.end(user, stores.last_device, LATER) for _ in range(5))
    outcomes = await asyncio.gather(*ends, return_exceptions=True)

    assert [isinstance(outcome, NotFound) for outcome in outcomes].count(False) == 1
    assert (await stores.devices.list(user)).epoch == 2
