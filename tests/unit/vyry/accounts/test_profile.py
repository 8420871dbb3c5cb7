"""The account and its devices, for the owner."""

from dataclasses import replace

import pytest

from tests.support.account_harness import NUMBER, AccountHarness, AccountStores, open_stores
from vyry.accounts.account import AccountChange, Caller
from vyry.accounts.profile import DEFAULT_SETTINGS
from vyry.errors import Forbidden, InvalidRequest, InvalidToken, NotFound
from vyry.kernel.ids import DeviceId


@pytest.fixture
async def stores() -> AccountStores:
    async with open_stores(None) as stores:
        return stores


@pytest.fixture
def harness(stores: AccountStores) -> AccountHarness:
    return AccountHarness(stores)


@pytest.fixture
async def ann(harness: AccountHarness) -> Caller:
    return await harness.sessions.authenticate((await harness.sign_up()).tokens.access)


async def test_a_fresh_account_shows_a_masked_number_and_all_defaults(harness: AccountHarness, ann: Caller) -> None:
    own = await harness.accounts.load(ann)

    assert (own.phone_number, own.settings) == ("+41•••••••67", dict(DEFAULT_SETTINGS))
    assert NUMBER not in repr(own)


async def test_a_setting_that_is_cleared_has_its_default_again(harness: AccountHarness, ann: Caller) -> None:
    changed = await harness.accounts.change(ann, AccountChange({}, {"showPresence": True, "readReceipts": False}))
    assert (changed.settings["showPresence"], changed.settings["readReceipts"]) == (True, False)

    cleared = await harness.accounts.change(ann, AccountChange({}, {"showPresence": None}))

    assert (cleared.settings["showPresence"], cleared.settings["readReceipts"]) == (False, False)


async def test_a_username_is_kept_in_lower_case(harness: AccountHarness, ann: Caller) -> None:
    own = await harness.accounts.change(ann, AccountChange({"username": "Ann_of.G7"}))

    assert own.account.username == "ann_of.g7"


@pytest.mark.parametrize("username", ["ab", "a" * 31, "an n", "ann!", "änn", "\u212aann", "ann\n", ""])
async def test_other_usernames_are_refused(harness: AccountHarness, ann: Caller, username: str) -> None:
    with pytest.raises(InvalidRequest):
        await harness.accounts.change(ann, AccountChange({"username": username}))


async def test_a_profile_with_a_name_needs_no_set_up(harness: AccountHarness, ann: Caller) -> None:
    await harness.accounts.change(ann, AccountChange({"display_name": "Ann"}))

    assert (await harness.sign_up()).requires_profile_setup is False


async def test_the_primary_ends_itself_and_its_token_is_refused_at_once(harness: AccountHarness) -> None:
    token = (await harness.sign_up()).tokens.access
    ann = await harness.sessions.authenticate(token)

    await harness.devices.end(ann, ann.device_id)

    assert harness.listener.ended_mailboxes == [ann.mailbox]
    with pytest.raises(InvalidToken):
        await harness.sessions.authenticate(token)


async def test_a_linked_device_ends_only_itself(harness: AccountHarness, ann: Caller) -> None:
    linked = replace(ann, is_primary=False, device=ann.user_id)

    with pytest.raises(Forbidden):
        await harness.devices.end(linked, ann.device_id)
    await harness.devices.end(replace(ann, is_primary=False), ann.device_id)

    assert (await harness.devices.list(ann)).devices == ()


async def test_a_device_that_is_not_there_is_not_found(harness: AccountHarness, ann: Caller) -> None:
    with pytest.raises(NotFound):
        await harness.devices.end(ann, DeviceId(9))
    with pytest.raises(NotFound):
        await harness.devices.rename(ann, DeviceId(9), "x")


async def test_leaving_ends_the_own_device_once(harness: AccountHarness, ann: Caller) -> None:
    await harness.devices.end_current(ann)

    with pytest.raises(InvalidToken):
        await harness.devices.end_current(ann)


async def test_a_renamed_device_answers_its_new_name(harness: AccountHarness, ann: Caller) -> None:
    device = await harness.devices.rename(ann, ann.device_id, "tablet")

    assert (device.name, device.device) == ("tablet", ann.device)
