"""Contract of DeletionStore."""

import asyncio
from datetime import timedelta

import pytest

from tests.support.account_harness import AccountStores
from tests.support.fake_clock import NOON
from vyry.accounts.account import AccountChange, EndedDevice
from vyry.accounts.deletion import ERASE_DELAY
from vyry.accounts.usernames import UsernameRules
from vyry.errors import NotFound
from vyry.kernel.ids import UserId, new_id


LATER = NOON + timedelta(hours=1)
HASH = "a" * 64


async def test_devices_and_number_are_free_at_once(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    device = stores.last_device

    ended = await stores.deletion.delete(user, [HASH], LATER)

    assert [each.device for each in ended] == [device]
    assert await stores.sessions.load_statuses([device]) == {}
    again = await stores.sign_up(refresh="r1", at=LATER)
    assert (again.is_new_user, again.user_id == user, again.ended_devices) == (True, False, ())


async def test_what_is_deleted_is_not_there(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    await stores.deletion.delete(user, [HASH], LATER)

    for question in (
        stores.accounts.load(user),
        stores.accounts.change(user, AccountChange({"bio": "x"}), UsernameRules(NOON)),
        stores.deletion.delete(user, [HASH], LATER),
        stores.deletion.delete(UserId(new_id()), [], LATER),
    ):
        with pytest.raises(NotFound):
            await question


async def test_of_two_deletions_at_once_one_ends_the_devices(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    outcomes = await asyncio.gather(
        *(stores.deletion.delete(user, [HASH], LATER) for _ in range(5)), return_exceptions=True
    )

    ended = [list(outcome) for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert [[type(each) for each in devices] for devices in ended] == [[EndedDevice]]
    assert sum(isinstance(outcome, NotFound) for outcome in outcomes) == 4


async def test_a_sign_up_at_the_same_moment_makes_a_new_account_or_ends_with_the_old_one(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    _, made = await asyncio.gather(stores.deletion.delete(user, [HASH], LATER), stores.sign_up(refresh="r1", at=LATER))

    standing = await stores.sessions.load_statuses([stores.last_device])
    assert (made.user_id != user) == bool(standing)
    assert made.is_new_user == bool(standing)


async def test_erasing_leaves_other_accounts_alone_and_comes_to_an_end(stores: AccountStores) -> None:
    ann = (await stores.sign_up()).user_id
    bo = (await stores.sign_up("b" * 64, refresh="r1")).user_id
    await stores.deletion.delete(ann, [HASH], NOON)

    while await stores.deletion.erase(NOON + ERASE_DELAY, 1):
        pass

    assert len((await stores.devices.list(bo)).devices) == 1
    assert (await stores.sign_up(refresh="r2")).is_new_user
