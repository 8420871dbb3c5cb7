"""Contract of stores for released usernames: reserved for 90 days, then free."""

from datetime import date, datetime, timedelta

import pytest

from tests.support.account_harness import AccountStores
from tests.support.fake_clock import NOON
from vyry.accounts.account import AccountChange
from vyry.accounts.usernames import RESERVATION, UsernameRules
from vyry.errors import RateLimited, UsernameTaken
from vyry.kernel.ids import UserId


#: The first day on which a name given up at noon is free.
FREE = datetime(2026, 4, 2, tzinfo=NOON.tzinfo)


async def person(stores: AccountStores, name: str) -> UserId:
    """A new account; the hash of its number is of these letters."""
    return (await stores.sign_up(name * 64, refresh=name)).user_id


async def claim_username(stores: AccountStores, user: UserId, name: str | None, at: datetime = NOON) -> str | None:
    return (await stores.accounts.change(user, AccountChange({"username": name}), UsernameRules(at))).username


async def is_refused(stores: AccountStores, user: UserId, name: str, at: datetime = NOON) -> bool:
    """Whether the name is refused to this account, without a change."""
    before = await stores.accounts.load(user)
    with pytest.raises(UsernameTaken) as refusal:
        await stores.accounts.change(user, AccountChange({"username": name, "bio": "not kept"}), UsernameRules(at))
    assert (refusal.value.problem, refusal.value.members) == (UsernameTaken().problem, {})
    return await stores.accounts.load(user) == before


@pytest.mark.parametrize("successor", [None, "anna"])
async def test_a_name_given_up_is_taken_to_all_others_until_its_day(
    stores: AccountStores, successor: str | None
) -> None:
    ann, bo = await person(stores, "a"), await person(stores, "b")
    await claim_username(stores, ann, "ann")
    await claim_username(stores, ann, successor)

    assert await is_refused(stores, bo, "ann")
    assert await is_refused(stores, bo, "ann", NOON + RESERVATION)
    assert await is_refused(stores, bo, "ann", FREE - timedelta(microseconds=1))
    assert await claim_username(stores, bo, "ann", FREE) == "ann"
    assert await is_refused(stores, ann, "ann", FREE)


async def test_its_former_owner_takes_it_back_and_it_rests_no_more(stores: AccountStores) -> None:
    ann, bo = await person(stores, "a"), await person(stores, "b")
    await claim_username(stores, ann, "ann")
    await claim_username(stores, ann, None)

    assert await claim_username(stores, ann, "ann") == "ann"
    assert await stores.accounts.reserved_until(ann, NOON.date()) == []
    assert await is_refused(stores, bo, "ann", FREE)


async def test_the_name_of_a_deleted_account_rests_for_everybody(stores: AccountStores) -> None:
    ann, bo = await person(stores, "a"), await person(stores, "b")
    await claim_username(stores, ann, "first")
    await claim_username(stores, ann, "second")
    await stores.deletion.delete(ann, ["a" * 64], NOON)
    again = await person(stores, "a")

    for name in ("first", "second"):
        for user in (bo, again):
            assert await is_refused(stores, user, name)
            assert await is_refused(stores, user, name, FREE - timedelta(microseconds=1))
    assert [await claim_username(stores, again, name, FREE) for name in ("first", "second")] == ["first", "second"]


async def test_a_name_that_was_never_given_up_rests_for_nobody(stores: AccountStores) -> None:
    ann, bo = await person(stores, "a"), await person(stores, "b")
    await claim_username(stores, ann, "ann")
    await stores.accounts.change(ann, AccountChange({"username": "ann", "bio": "x"}), UsernameRules(NOON))
    await stores.accounts.change(ann, AccountChange({"display_name": "Ann"}), UsernameRules(NOON))

    assert await is_refused(stores, bo, "ann")
    assert await stores.accounts.reserved_until(ann, NOON.date()) == []


async def test_an_account_lets_three_names_rest_and_keeps_the_fourth(stores: AccountStores) -> None:
    ann, bo = await person(stores, "a"), await person(stores, "b")
    for name in ("one1", "two2", "three3", "four4"):
        await claim_username(stores, ann, name)

    for refused in ("five5", None):
        with pytest.raises(RateLimited) as refusal:
            await claim_username(stores, ann, refused)
        assert refusal.value.members == {"retry_after_seconds": (FREE - NOON).total_seconds()}

    assert await stores.accounts.reserved_until(ann, NOON.date()) == [date(2026, 4, 2)] * 3
    assert (await stores.accounts.load(ann)).username == "four4"
    assert await claim_username(stores, bo, "five5") == "five5"
    assert await claim_username(stores, ann, "one1") == "one1"
    assert await is_refused(stores, bo, "four4")


async def test_what_has_rested_counts_no_more(stores: AccountStores) -> None:
    ann = await person(stores, "a")
    for name in ("one1", "two2", "three3", "four4"):
        await claim_username(stores, ann, name)

    assert await stores.accounts.reserved_until(ann, FREE.date()) == []
    assert await claim_username(stores, ann, "five5", FREE) == "five5"
    assert await stores.accounts.reserved_until(ann, FREE.date()) == [UsernameRules(FREE).released_on]
