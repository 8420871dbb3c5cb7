"""Contract of stores that make accounts by invitation."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from tortoise.exceptions import DoesNotExist

from tests.support.account_harness import new_device
from tests.support.database_dump import dump_all_rows
from tests.support.fake_clock import NOON
from vyry.accounts.account import SignupResult
from vyry.accounts.joining import JoiningAccount
from vyry.accounts.phone import Pepper
from vyry.accounts.recovery_codes import hash_given_code, new_recovery_code
from vyry.accounts.signup_invitations import InvitationTerms, new_invitation, new_token, token_hashes
from vyry.accounts.usernames import UsernameRules, name_hash
from vyry.errors import Forbidden, NotFound, UsernameTaken
from vyry.kernel.ids import UserId, new_id
from vyry.storage.account_upkeep import TortoiseAccountUpkeep
from vyry.storage.conversation_models import ReservedUsernameRow
from vyry.storage.database import open_database, transaction
from vyry.storage.joining import TortoiseJoining
from vyry.storage.models import AccountRow, DeviceRow
from vyry.storage.sign_up_models import SignupAttemptRow, SignupInvitationRow
from vyry.storage.signup_invitations import add_invitation


PEPPER = Pepper({1: b"o" * 32, 2: b"n" * 32}, 1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(autouse=True)
async def database(url: str) -> AsyncIterator[None]:
    async with open_database(url):
        yield


async def invite(uses: int = 1) -> str:
    """The token of a new invitation, valid for a day."""
    token = new_token(PEPPER)
    async with transaction() as tx:
        await add_invitation(tx, new_invitation(None, InvitationTerms(uses, timedelta(days=1)), NOON), token)
    return token.text


async def join(
    token: str, at: datetime = NOON, attempt: str | None = None, username: str | None = None
) -> SignupResult:
    account = JoiningAccount(UserId(new_id()), username, "Ann", new_recovery_code().hash, attempt, 1)
    device = new_device(str(new_id()), at)
    return await TortoiseJoining().join(token_hashes(PEPPER, token), account, device, UsernameRules(at))


async def uses() -> int:
    return (await SignupInvitationRow.get()).uses


async def test_an_invitation_is_good_for_its_uses_until_its_end() -> None:
    token = await invite(uses=2)

    made = await join(token)

    assert (made.is_new_user, made.has_display_name, made.ended_devices) == (True, True, ())
    with pytest.raises(NotFound):
        await join(token, NOON + timedelta(days=1))
    await join(token, NOON + timedelta(days=1) - MINUTE)
    with pytest.raises(NotFound):
        await join(token)
    assert (await uses(), await AccountRow.all().count()) == (2, 2)


async def test_an_invitation_is_found_under_every_pepper_that_the_node_has() -> None:
    token = await invite()
    PEPPER.replace({1: b"o" * 32, 2: b"n" * 32}, 2)
    try:
        await join(token)
    finally:
        PEPPER.replace({1: b"o" * 32, 2: b"n" * 32}, 1)


async def test_a_refused_join_changes_nothing() -> None:
    token = await invite(uses=3)
    await join(token, username="ann")
    _ = await ReservedUsernameRow.create(
        hash=name_hash("bob"), account_id=new_id(), free_on=NOON.date() + timedelta(days=9)
    )
    before = await dump_all_rows()

    for name in ("ann", "bob"):
        with pytest.raises(UsernameTaken):
            await join(token, attempt="a" * 64, username=name)
    with pytest.raises(NotFound):
        await join("another", attempt="a" * 64)

    assert await dump_all_rows() == before


async def test_an_attempt_can_be_repeated_for_ten_minutes() -> None:
    token = await invite()
    first = await join(token, attempt="a" * 64, username="ann")

    again = await join(token, NOON + 10 * MINUTE - timedelta(seconds=1), attempt="a" * 64, username="other")

    assert (again.user_id, again.is_new_user, len(again.ended_devices)) == (first.user_id, True, 1)
    assert (await AccountRow.get()).username == "ann"
    assert await DeviceRow.filter(ended_at=None).count() == 1
    with pytest.raises(NotFound):
        await join(token, NOON + 10 * MINUTE, attempt="a" * 64)
    with pytest.raises(NotFound):
        await join(token, attempt="b" * 64)
    assert await uses() == 1


async def test_a_repetition_for_a_suspended_or_deleted_account_is_refused() -> None:
    token = await invite()
    made = await join(token, attempt="a" * 64)

    await AccountRow.filter(id=made.user_id).update(suspended_at=NOON)
    with pytest.raises(Forbidden):
        await join(token, attempt="a" * 64)
    await AccountRow.filter(id=made.user_id).update(deleted_at=NOON)
    with pytest.raises(NotFound):
        await join(token, attempt="a" * 64)


async def test_no_token_and_no_code_is_in_the_database() -> None:
    token = await invite()
    code = new_recovery_code()
    account = JoiningAccount(UserId(new_id()), None, None, code.hash, None, 1)
    await TortoiseJoining().join(token_hashes(PEPPER, token), account, new_device(), UsernameRules(NOON))

    stored = str(await dump_all_rows())

    assert token not in stored
    assert code.text not in stored
    assert hash_given_code(code.text) in stored


async def test_ended_rows_are_deleted_once_they_count_no_more() -> None:
    await join(await invite(), attempt="a" * 64)
    upkeep, end = TortoiseAccountUpkeep(), NOON + timedelta(days=1)

    await upkeep.delete_expired(NOON + 11 * MINUTE, 100)
    assert await SignupAttemptRow.all().count() == 0
    await upkeep.delete_expired(end + timedelta(days=30) - MINUTE, 100)
    assert await uses() == 1
    await upkeep.delete_expired(end + timedelta(days=30) + MINUTE, 100)
    with pytest.raises(DoesNotExist):
        await uses()
